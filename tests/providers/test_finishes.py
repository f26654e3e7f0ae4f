from __future__ import annotations

import pytest

from llm_pool.providers.finishes import finish_of, is_bad, is_withheld, word_of


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        *[(word, "stop") for word in ("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "eosFound")],
        *[(word, "stop") for word in ("tool_calls", "function_call", "tool_use", "COMPLETE")],
        *[(word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "model_length", "limit")],
        *[(word, "length") for word in ("maxPredictedTokensReached", "contextLengthReached")],
        ("repetition", "repetition"),
        *[(word, None) for word in ("abort", "error", "cancelled", "content_filter", "", "a word of tomorrow")],
    ],
)
def test_only_words_known_to_be_good_make_an_answer(word: str, finish: str | None) -> None:
    assert finish_of(word) == finish


@pytest.mark.parametrize("word", ["abort", "error", "cancelled", "userStopped", "insufficient_system_resource"])
def test_a_bad_word_is_known_as_one(word: str) -> None:
    assert is_bad(word)
    assert not is_withheld(word)


@pytest.mark.parametrize("word", ["content_filter", "SAFETY", "RECITATION"])
def test_a_filter_is_told_from_a_fault(word: str) -> None:
    assert is_bad(word)
    assert is_withheld(word)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("stop", "stop"),
        ({"type": "length", "length": 5}, "length"),
        ("None", ""),
        ("null", ""),
        (None, ""),
        (7, ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_the_word_is_found_where_servers_put_it(value: object, word: str) -> None:
    assert word_of(value) == word

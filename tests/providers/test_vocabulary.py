"""What a bundled model takes for its own world, and what it declines."""

from __future__ import annotations

import json
import re
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.pocket import CARD, declined, foreign
from llm_pool.providers.gguf import BUNDLED
from llm_pool.providers.vocabulary import MAX_CHARACTERS, Vocabulary, content_words, read_vocabularies
from tools.pocket import words
from tools.pocket.check import inputs
from tools.pocket.grammar import random_word
from tools.pocket.measures import MEASURES
from tools.pocket.oracle import held_out

if TYPE_CHECKING:
    from pathlib import Path

VOCABULARIES = read_vocabularies(BUNDLED / "pocket-words.json")
SMALL = Vocabulary(frozenset({"jazz", "video", "calm", "0", "query:"}), ("jazz",), re.compile("[bd]u[bd]"))


def test_the_shipped_words_are_those_of_the_world() -> None:
    """Made anew when the world is widened."""
    assert json.loads(words.WORDS.read_text(encoding="utf-8")) == words.vocabularies()


@pytest.mark.parametrize("task", MEASURES)
def test_foreign_input_is_declined(task: str) -> None:
    """At least 95 of 100 in every task, those in words of the world among them."""
    assert declined(task, foreign()[task]) >= 0.95


@pytest.mark.parametrize("task", MEASURES)
def test_its_own_input_is_not(task: str) -> None:
    """At most 2 of 100 that training never saw."""
    assert declined(task, [one.case.text for one in inputs(count=200, seed=4242)[task]]) <= 0.02


@pytest.mark.parametrize(
    ("task", "text", "covered"),
    [
        ("recovery_plan", "checkout: disk is full in production", True),
        ("recovery_plan", "kafka: disk is full in production", False),
        ("expand_queries", "jazz videos from Paris", False),
        ("expand_queries", "show me calm films", False),
        ("expand_queries", "country house in Berlin", True),
    ],
)
def test_the_examples_of_the_model_card(task: str, text: str, *, covered: bool) -> None:
    """What it says of them, the last a limit that is owned to."""
    assert f"`{text}`" in CARD.read_text(encoding="utf-8")
    assert VOCABULARIES[task].covers(text) is covered


@pytest.mark.parametrize("task", MEASURES)
@pytest.mark.parametrize("word", ["kafka", "sourdough", "42nd", "日", "é"])
def test_one_word_from_elsewhere_is_enough(task: str, word: str) -> None:
    """Wherever in an input of its own it stands."""
    for number, one in enumerate(inputs(count=10, seed=5)[task]):
        text = one.case.text.removesuffix('"}').removesuffix("}")
        value: Any = json.loads(one.case.text) if text != one.case.text else one.case.text
        if isinstance(value, dict):
            field = Random(number).choice([key for key in value if key not in {"candidates", "obstacles"}] or [None])
            place = value if field else value["candidates"][-1]
            field = field or next(key for key in ("text", "title") if key in place)
            place[field] = f"{place[field]} {word}"
        else:
            value = f"{word}, {value}" if number % 2 else f"{value} {word}"

        assert not VOCABULARIES[task].covers(value), value


@pytest.mark.parametrize(
    "value",
    [
        "calm jazz videos",
        "The calm jazz video is on at 7.30!",
        "jazz of dub",
        {"query": "jazz"},
        ["calm", ["jazz", 3, None]],
    ],
)
def test_known_words_with_a_sign_are_covered(value: Any) -> None:
    """Function words, plurals, numbers and made-up words do no harm."""
    assert SMALL.covers(value)


def test_an_id_may_be_anything() -> None:
    """It is copied, whatever it says."""
    one = {"candidates": [{"id": "Kafka", "text": "dull photos"}, {"id": "Paris", "text": "sharp photos"}]}
    assert VOCABULARIES["judge"].covers(one)


@pytest.mark.parametrize(
    "value",
    [
        "calm videos",  # no sign
        "",
        "42",
        None,
        "dub bud",
        "jazz in Paris",
        "what is jazz",
        "jazz's",
        "jazz example.org",
        {"jazz": "calm"},
        {"query": "jazz", "length": 3},
        "jazz" + " jazz" * (MAX_CHARACTERS // 5),
    ],
)
def test_anything_else_is_not(value: Any) -> None:
    """A strange word, a strange key, nothing to answer from, or too much."""
    assert not SMALL.covers(value)


def test_words_are_read_as_the_file_has_them() -> None:
    """Lower case, singular, a number as 0, a host name as one word."""
    assert content_words("The Documentaries, 2 CLIPS of glass at https://dub.example/a?b=c: 5xx!") == [
        "documentary", "0", "clip", "glass", "example.org", "5xx",
    ]  # fmt: skip


@given(st.randoms(use_true_random=False))
def test_every_made_up_word_is_known(rng: Any) -> None:
    """The pattern in the file is that of the grammar."""
    assert re.fullmatch(words.made_up(), random_word(rng))


def test_a_judge_knows_the_question_and_nearly_all_of_each_answer() -> None:
    """It is there to see a name that was copied wrongly; an answer of another world it declines."""
    contests = [json.loads(one.case.text) for one in held_out(Random(1), "judging", 200)]
    vocabulary = VOCABULARIES["judging"]

    assert all(map(vocabulary.covers_judging, contests))
    for contest in contests:
        asked = {**contest, "question": {"query": "sourdough"}}
        answered = [*contest["candidates"], {"id": "C", "text": "Feed the starter with rye flour."}]
        assert not vocabulary.covers_judging(asked)
        assert not vocabulary.covers_judging({**contest, "candidates": answered})
    miscopied = {"tactics": [{"tactic": "search for calm lolle", "fallback": "browse the categories"}]}
    contest = {"question": "calm videos", "candidates": [{"id": "A", "text": miscopied}]}
    assert vocabulary.covers_judging(contest)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_looked_at(value: Any) -> None:
    """Whatever a stranger sends has an answer, and the same twice."""
    for vocabulary in VOCABULARIES.values():
        assert vocabulary.covers(value) == vocabulary.covers(value)


@pytest.mark.parametrize("piece", ["a.", "jazz ", "x-", "a.b ", "  ", "é", "http://"])
def test_long_input_takes_no_longer(piece: str) -> None:
    """The event loop waits for it: under 10 ms, whether it is looked at or not."""
    fitting = MAX_CHARACTERS // (len(piece) + 1)
    for value in (piece * fitting, [piece] * fitting, piece * 1_000_000, [piece] * 1_000_000):
        took = min(_seconds(value) for _ in range(3))
        assert took < 0.01


def _seconds(value: Any) -> float:
    """Of this thread's own work: others use this machine too."""
    began = time.thread_time()
    VOCABULARIES["expand_queries"].covers(value)
    return time.thread_time() - began


@pytest.mark.parametrize("text", ["", "{}}", '{"judge": 7}', '{"judge": {"words": "a", "signs": [], "made_up": "("}}'])
def test_a_file_of_something_else_is_told(text: str, tmp_path: Path) -> None:
    """With the reason."""
    path = tmp_path / "words.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r".+"):
        read_vocabularies(path)

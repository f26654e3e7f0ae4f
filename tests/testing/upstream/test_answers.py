from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.testing.upstream.answers import Recordings, ScriptedAnswer, TextRequest, generated

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    {"prompt": "\nHow many?\n", "models": {"Phi-3-mini-4k-instruct": {"raw": "three"}, "gemma-2-9b-it": {"raw": "3"}}},
    {
        "prompt": "How many? And why?",
        "models": {"Meta-Llama-3.1-8B-Instruct": {"raw": "because", "ttft": 0.2, "duration": 1.5}},
    },
]


def an_ask(user: str, model: str = "phi3:mini", **more: Any) -> TextRequest:
    return TextRequest(model=model, text=f"be brief\n{user}", user=user, **more)


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(row) for row in ROWS))
    return Recordings(path)


def test_a_prompt_is_found_as_it_is_or_inside_a_template(recordings: Recordings) -> None:
    """The model's family is enough of a name."""
    assert recordings(an_ask("How many?")) == ScriptedAnswer("three")
    assert recordings(an_ask("Answer this.\nHow many?\nIn JSON.", "gemma2:9b")) == ScriptedAnswer("3")
    assert recordings(an_ask("How many?", "gemma-2-9b-it")) == ScriptedAnswer("3")


def test_the_longest_prompt_wins_and_brings_its_times(recordings: Recordings) -> None:
    """A prompt that contains another is not taken for it."""
    assert recordings(an_ask("Well: How many? And why?", "llama3.1:8b")) == ScriptedAnswer("because", 0.2, 1.5)


def test_what_was_not_recorded_is_left_to_others(recordings: Recordings) -> None:
    """An unknown prompt, or a model that did not answer this one."""
    assert recordings(an_ask("Who?")) is None
    assert recordings(an_ask("How many?", "qwen3:4b")) is None


def test_a_schema_gets_an_instance() -> None:
    """So that tasks pass without a script."""
    said = generated(an_ask("pick", schema={"type": "object", "properties": {"winner": {"enum": ["b", "a"]}}}))

    assert msgspec.json.decode(said.text) == {"winner": "b"}
    assert isinstance(msgspec.json.decode(generated(an_ask("pick", schema={})).text), dict)


def test_one_token_with_alternatives_is_a_letter() -> None:
    """As a judge asks for it, and with a margin to read."""
    said = generated(an_ask("A or B?", max_tokens=1, top_logprobs=3))

    assert said.text == "A"
    assert said.top[0] == ("A", -0.25)


def test_a_plain_question_is_repeated_by_name() -> None:
    """A person sees who answered what."""
    assert generated(an_ask("which  colour?")).text == "phi3:mini heard: which colour?"

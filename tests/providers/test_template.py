from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llm_pool.core.errors import ConfigError
from llm_pool.core.messages import Call, Prompt, Turn
from llm_pool.providers.template import Template, at
from llm_pool.testing import a_call

pytestmark = pytest.mark.anyio


@pytest.fixture
async def call() -> Call:
    return msgspec.structs.replace(
        a_call(max_tokens=7, temperature=0.5, schema={"type": "object"}),
        prompt=Prompt("S", "U"),
        stop=("x", '"y'),
    )


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ({"n": "{max_tokens}", "t": "{temperature}"}, {"n": 7, "t": 0.5}),
        ({"n": "at most {max_tokens}"}, {"n": "at most 7"}),
        ({"schema": "{schema}", "seed": "{seed}"}, {"schema": {"type": "object"}}),
        ({"s": "seed {seed}."}, {"s": "seed ."}),
        (
            {"s": "schema={schema} stop={stop} think={think} t={temperature} to {max_tokens}"},
            {"s": 'schema={"type":"object"} stop=["x","\\"y"] think= t=0.5 to 7'},
        ),
        ("{prompt}", "S\n\nU"),
        (["{system}", "{prompt}"], ["S", "U"]),
        (["{system}", "{user}"], ["S", "U"]),
        (
            {"a": [{"b": "{model}/{user}"}], "c": 1, "d": None, "e": True},
            {"a": [{"b": "m/U"}], "c": 1, "d": None, "e": True},
        ),
        ("{} {{ { prompt } {1}", "{} {{ { prompt } {1}"),
    ],
)
async def test_placeholders_are_filled(call: Call, template: Any, filled: Any) -> None:
    assert Template(template, "body").fill("m", call) == filled


async def test_a_prompt_cannot_bring_placeholders_of_its_own(call: Call) -> None:
    sly = msgspec.structs.replace(call, prompt=Prompt("", "{model} {system}"))

    assert Template("{prompt}!", "body").fill("m", sly) == "{model} {system}!"


async def test_an_unknown_placeholder_names_its_place_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        Template({"inputs": ["{promt}"]}, "providers.request.body")

    assert caught.value.key == "providers.request.body.inputs.0"
    assert caught.value.got == "{promt}"
    assert caught.value.hint == "did you mean {prompt}?"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a", {"b": ["x", {"c": 1}]}),
        ("a.b.0", "x"),
        ("a.b.1.c", 1),
        ("a.b.2", None),
        ("a.b.-1", None),
        ("a.x", None),
        ("a.b.c.d", None),
        ("a.b.0.c", None),
    ],
)
async def test_a_path_leads_to_a_value_or_nowhere(path: str, found: Any) -> None:
    assert at({"a": {"b": ["x", {"c": 1}]}}, path) == found


async def test_a_conversation_is_told_as_one_text() -> None:
    """Where an API takes no turns, who spoke stands before what was said."""
    prompt = Prompt("Be brief.", "so?", (Turn("user", "hi"), Turn("assistant", "hello")))
    call = msgspec.structs.replace(a_call(), prompt=prompt)

    assert Template("{prompt}", "body").fill("m", call) == "Be brief.\n\nuser: hi\n\nassistant: hello\n\nuser: so?"

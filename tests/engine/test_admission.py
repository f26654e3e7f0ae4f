"""What a sender's caps do to a query."""

from __future__ import annotations

import time
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.agreement.objects import Vote, merge
from llm_pool.config import parse
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Caps, Prompt, Query, Task, Turn
from llm_pool.engine.admission import ANY_OBJECT, admit, parse_think
from llm_pool.reading import Unreadable, read
from llm_pool.tasks import with_variant

if TYPE_CHECKING:
    from llm_pool.core.messages import Call, Think

CONFIG = parse(
    "[qos]\nmax_deadline_ms = 3000\nmax_tokens_default = 256\n[tasks.slow]\ndeadline_ms = 60000\n"
    '[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n',
    Path("llm-pool.toml"),
)


@pytest.mark.parametrize(
    ("asked", "cap", "schema", "given"),
    [
        (None, 100, {}, 100),
        (None, 1000, {}, 1000),
        (None, None, {}, None),
        (-1, None, None, None),
        (-1, 100, None, 100),
        (500, 100, {}, 100),
        (50, 100, {}, 50),
        (500, None, {}, 500),
        (None, None, None, None),
        (None, 1000, None, 1000),
        (500, None, None, 500),
    ],
)
def test_an_answer_is_no_longer_than_its_sender_may_have(
    asked: int | None, cap: int | None, schema: dict[str, Any] | None, given: int | None
) -> None:
    """The cap lies over what is asked for; a plain answer, whatever its shape, may go on to its end."""
    query = Query(prompt="p", max_tokens=asked, output_schema=schema, caps=Caps(max_tokens=cap))

    call = admit(query, Task(name="ask", template="{{input}}"), CONFIG, now=0.0, stream=False)

    assert call.max_tokens == given


@pytest.mark.parametrize(
    ("task", "asked", "cap", "given"), [("ask", None, 1, 1), ("ask", 2, 1, 1), ("ask", 2, 9, 2), ("slow", 50, 9, 9)]
)
def test_a_deadline_is_no_later_than_the_sender_may_have(
    task: str, asked: float | None, cap: float, given: float
) -> None:
    """Whatever the task's own cap is."""
    query = Query(prompt="p", task=task, deadline=asked, caps=Caps(deadline=cap))

    call = admit(query, Task(name=task, template="{{input}}"), CONFIG, now=0.0, stream=False)

    assert call.deadline == given


# What an asker may shape: the answer, the sampling, the conversation.

LEAVES = st.sampled_from([{}, True, {"type": ["object", "null"]}, {"type": "string", "maxLength": 2.0}])
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", ["array", "null"]]),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "items": inner,
            "maxItems": st.sampled_from([1, 2.0]),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "additionalProperties": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=6,
).filter(lambda schema: isinstance(schema, dict))
TEXTS = ('{"a": ["x", "y", "z"], "b": {"a": 1}}', '[{"a": "long"}]', '"xyz"', "{'a': 'xyz', 'b': None}", "no")

ASK = Task(name="ask", template="{{input}}")
RANK = Task(name="rank", template="{{input}}", output_schema={"type": "object", "required": ["ids"]}, kind="object")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def admitted(task: Task = ASK, **query: Any) -> Call:
    """The call of a query with these fields."""
    return admit(Query(prompt="p", task=task.name, **query), task, CONFIG, now=0.0, stream=False)


def test_an_askers_schema_shapes_a_plain_answer() -> None:
    """It is what is asked for, what is checked, and how answers are compared."""
    call = admitted(output_schema=CITY)

    assert call.schema == CITY
    assert call.task.kind == "object"
    assert admitted(output_schema={"type": "array"}).task.kind == "text"


def test_a_task_keeps_a_schema_of_its_own() -> None:
    """Any object will do where an object is made anyway; another shape is refused."""
    assert admitted(RANK, output_schema=ANY_OBJECT).schema == RANK.output_schema

    with pytest.raises(InvalidRequest, match="output_schema: task 'rank' has one of its own"):
        admitted(RANK, output_schema=CITY)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "thing"},
        {"$ref": "http://127.0.0.1:9/other"},
        {"$schema": "http://127.0.0.1:9/meta"},
        {"properties": {"a": {"maxItems": -1}}},
        reduce(lambda inner, _: {"items": inner}, range(70), {}),
        {"$defs": {"n": {"anyOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}}, "$ref": "#/$defs/n"},
        {"anyOf": [{"$ref": "#"}]},
        {"$dynamicRef": "#node"},
        {"$defs": {f"n{i}": {"anyOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(20)} | {"n20": {}}},
        {"$defs": {"a": {"$id": "b", "$ref": "#/c"}}},
        {"allOf": [{"pattern": "a"}] * 3000},
    ],
    ids=[
        "no type",
        "another document",
        "another language",
        "no number",
        "deep",
        "itself, twice",
        "itself",
        "itself, by another word",
        "doubling",
        "a document inside",
        "many parts",
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    """It comes from strangers, and nothing is fetched for it."""
    with pytest.raises(InvalidRequest, match=r"^output_schema: "):
        admitted(output_schema=schema)


@given(SCHEMAS, st.sampled_from(TEXTS))
def test_any_schema_reads_any_answer_or_refuses_it(schema: dict[str, Any], text: str) -> None:
    """What no task of ours would say (``true``, two types, ``2.0``) breaks nothing."""
    call = admitted(output_schema=schema)
    assert call.schema is not None

    try:
        reading = read(text, schema=call.schema, kind=call.task.kind)
    except Unreadable:
        return
    if isinstance(reading.value, dict):
        assert isinstance(merge([Vote(reading.value), Vote(reading.value)], call.schema), dict)


def test_a_pattern_of_strangers_takes_no_time() -> None:
    """One that tries every way back gives up early."""
    patterns = [{"pattern": rf"^(a|a)*(?=b)\1c{number}$"} for number in range(300)]
    call = admitted(output_schema={"type": "object", "properties": {"a": {"anyOf": patterns}}})
    assert call.schema is not None
    began = time.perf_counter()

    with pytest.raises(Unreadable):
        read('{"a": "' + "a" * 40 + '"}', schema=call.schema)

    assert time.perf_counter() - began < 2.0


def test_a_schema_in_parts_is_taken() -> None:
    """As pydantic writes one."""
    schema = {"$defs": {"C": CITY}, "properties": {"a": {"$ref": "#/$defs/C"}, "b": {"$ref": "#/$defs/C"}}}

    assert admitted(output_schema=schema).schema == schema


def test_an_askers_sampling_is_taken() -> None:
    """Within bounds."""
    call = admitted(temperature=0.0, seed=7, stop=("\n",))

    assert (call.temperature, call.seed, call.stop) == (0.0, 7, ("\n",))


@pytest.mark.parametrize("temperature", [-0.1, 2.1, float("nan")])
def test_a_temperature_out_of_bounds_is_refused(temperature: float) -> None:
    """The field is named."""
    with pytest.raises(InvalidRequest, match=r"^temperature: expected 0 to 2"):
        admitted(temperature=temperature)


def test_earlier_turns_reach_the_call_as_data() -> None:
    """Markers of chat templates lose their power in them too."""
    call = admitted(turns=(Turn("system", "brief"), Turn("assistant", "a<|im_end|>b")))

    assert call.prompt.turns == (Turn("system", "brief"), Turn("assistant", "a< |im_end|>b"))
    assert call.prompt.transcript == "system: brief\n\nassistant: a< |im_end|>b\n\nuser: p"


def test_the_size_of_a_tasks_input_is_limited_and_not_that_of_a_conversation() -> None:
    """That may fill the models' context; see ``context_fit``."""
    long = (Turn("user", "x" * CONFIG.qos.max_prompt_bytes),)

    assert admitted(turns=long).prompt.turns == long
    with pytest.raises(InvalidRequest, match="over the limit"):
        admitted(RANK, turns=long)


def test_the_default_length_is_for_tasks_with_a_schema_of_their_own() -> None:
    """No limit is one that can be asked for."""
    assert admitted(RANK).max_tokens == CONFIG.qos.max_tokens_default
    assert admitted(RANK, max_tokens=-1).max_tokens is None
    assert admitted().max_tokens is None


def test_another_wording_keeps_the_conversation() -> None:
    """A model with prompts of its own is told what was said before, too."""
    task = Task(name="ask", template="{{input}}", variants={"short": "Briefly: {{input}}"})
    call = admitted(task, turns=(Turn("assistant", "a"),))

    assert with_variant(call, "short").prompt == Prompt("", "Briefly: p", (Turn("assistant", "a"),))


@pytest.mark.parametrize("asked", [{"max_tokens": 2**31}, {"max_tokens": 10**40}, {"seed": 2**63}, {"seed": -(10**40)}])
def test_numbers_that_no_backend_takes_are_refused(asked: dict[str, int]) -> None:
    """Found by schemathesis: a number of forty digits is good JSON."""
    with pytest.raises(InvalidRequest, match=next(iter(asked))):
        admit(Query(prompt="p", **asked), Task(name="ask", template="{{input}}"), CONFIG, now=0.0, stream=False)


def test_an_id_is_short() -> None:
    """It is kept as long as its answer."""
    with pytest.raises(InvalidRequest, match="request_id: 201 characters, expected at most 200"):
        admitted(request_id="x" * 201)


@pytest.mark.parametrize(
    ("task", "asked", "given"),
    [("ask", None, None), ("deep", None, "high"), ("deep", False, False), ("ask", True, True)],
)
def test_thinking_as_the_request_says_and_else_the_task(task: str, asked: Think | None, given: Think | None) -> None:
    """Where neither does, each provider decides."""
    config = parse(
        '[qos]\nthink_tokens = 99\n[tasks.deep]\nthink = "high"\n'
        '[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n',
        Path("llm-pool.toml"),
    )

    call = admit(
        Query(prompt="p", task=task, think=asked), Task(name=task, template="{{input}}"), config, now=0.0, stream=False
    )

    assert (call.think, call.think_tokens) == (given, 99)


@pytest.mark.parametrize(("text", "think"), [("true", True), ("FALSE", False), ("Low", "low"), ("high", "high")])
def test_words_for_thinking(text: str, think: Think) -> None:
    assert parse_think(text) == think


def test_another_word_for_thinking_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="think: expected false, true, low, medium, high, got 'much'"):
        parse_think("much")

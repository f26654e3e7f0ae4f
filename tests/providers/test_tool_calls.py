"""Pieces of calls as servers write them, and the calls they make."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import Image, Prompt, Tool, ToolCall, ToolCallDelta, Turn
from llm_pool.providers.chunks import ollama_chunk, openai_chunk
from llm_pool.providers.messages import folded, merged, ollama_messages, openai_messages
from llm_pool.providers.refusals import is_lasting, left_out, refuses_tools
from llm_pool.providers.tool_calls import MAX_CALLS, CallPiece, ToolCallStream, openai_choice, tools_json


def function(name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def streamed(*calls: dict[str, Any]) -> Any:
    return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}}]}


def read(*chunks: Any, by: Any = openai_chunk) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call in *chunks*."""
    stream, found = ToolCallStream(), dict[int, list[str]]()
    deltas = [stream.feed(piece) for chunk in chunks for piece in by(chunk).tool_calls]
    for delta in (*deltas, *stream.close()):
        if delta is not None:
            known = found.setdefault(delta.index, ["", "", ""])
            for at, text in enumerate((delta.id, delta.name, delta.arguments)):
                known[at] += text
    assert list(found) == list(range(len(found)))
    return [(one, name, arguments) for one, name, arguments in found.values()]


CALL = ("c1", "now", '{"zone":"UTC"}')


@pytest.mark.parametrize(
    "chunks",
    [
        [
            streamed({"index": 0, "id": "c1", "type": "function", "function": function("now", "")}),
            streamed({"index": 0, "function": function(arguments='{"zone"')}),
            streamed({"index": 0, "id": None, "function": {"arguments": ':"UTC"}'}}),
        ],
        [streamed({"index": 0, "id": "c1", "function": function("now", '{"zone":"UTC"}')})],
        [streamed({"id": "c1", "function": function("now")}), streamed({"function": function(None, '{"zone":"UTC"}')})],
        [streamed({"index": 0, "id": "c1"}), streamed({"index": 0, "function": function("now", '{"zone":"UTC"}')})],
        [streamed({"index": 3, "id": "c1", "function": function("now", {"zone": "UTC"})})],
        [{"choices": [{"message": {"tool_calls": [{"id": "c1", "function": function("now", '{"zone":"UTC"}')}]}}]}],
    ],
    ids=["pieces", "whole", "no index", "name later", "object", "completion"],
)
def test_one_call_however_it_is_written(chunks: list[Any]) -> None:
    assert read(*chunks) == [CALL]


def test_the_older_function_call_is_one_too() -> None:
    chunks = [{"choices": [{"delta": {"function_call": part}}]} for part in ({"name": "now"}, {"arguments": "{}"})]

    ((call_id, name, arguments),) = read(*chunks)

    assert call_id.startswith("call_")
    assert (name, arguments) == ("now", "{}")


@pytest.mark.parametrize("index", [{"index": 0}, {}])
def test_calls_of_one_index_are_told_apart_by_id_and_name(index: dict[str, int]) -> None:
    chunk = streamed(
        {**index, "id": "a", "function": function("now")}, {**index, "id": "b", "function": function("now")}
    )

    assert [one[:2] for one in read(chunk)] == [("a", "now"), ("b", "now")]


def test_a_call_has_its_number_once_its_name_is_known() -> None:
    """So that nobody hears of a second call before the first."""
    stream = ToolCallStream()
    pieces = [
        CallPiece(0, "a", arguments="{"),
        CallPiece(1, "b", "later", "{}"),
        CallPiece(0, name="now", arguments="}"),
    ]

    told = [delta for piece in pieces if (delta := stream.feed(piece)) is not None]

    assert told == [ToolCallDelta(0, "b", "later", "{}"), ToolCallDelta(1, "a", "now", "{}")]


def test_an_id_that_is_missing_or_there_twice_is_made_up() -> None:
    said = {
        "message": {
            "tool_calls": [{"id": "x", "function": function("now", {})}, {"function": function("now", {"a": 1})}]
        }
    }
    twice = {"message": {"tool_calls": [{"id": "x", "function": function("now")}] * 2}}

    for chunk in (said, twice):
        ids = [one[0] for one in read(chunk, by=ollama_chunk)]
        assert ids[0] == "x"
        assert len(set(ids)) == 2


def test_ollamas_calls_are_whole_and_their_arguments_objects() -> None:
    chunk = {
        "message": {
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"index": 0, **function("now", {"zone": "UTC"})}}],
        }
    }

    assert read(chunk, by=ollama_chunk) == [CALL]


def test_a_call_without_arguments_has_none() -> None:
    assert read(streamed({"index": 0, "id": "c", "function": function("now", "")}))[0][2] == "{}"


def test_a_call_without_a_name_is_none() -> None:
    with pytest.raises(ValueError, match="without a name"):
        read(streamed({"index": 0, "id": "c", "function": {"arguments": "{}"}}))


def test_nobody_calls_without_end() -> None:
    with pytest.raises(ValueError, match="more than 128"):
        read(*[streamed({"index": at, "function": function("now")}) for at in range(MAX_CALLS + 1)])


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,9}", fullmatch=True), st.text(max_size=20)), min_size=1, max_size=5),
    st.data(),
)
def test_any_cut_of_the_arguments_gives_the_same_calls(calls: list[tuple[str, str]], data: st.DataObject) -> None:
    """Interleaved too: an index says whose piece it is."""
    texts = [json.dumps({"text": text}) for _, text in calls]
    pieces = [
        [CallPiece(at, f"id{at}", name), *(CallPiece(at, arguments=part) for part in _cut(data, text))]
        for at, ((name, _), text) in enumerate(zip(calls, texts, strict=True))
    ]
    stream, arguments = ToolCallStream(), dict.fromkeys(range(len(calls)), "")
    order = data.draw(st.permutations([at for at, own in enumerate(pieces) for _ in own[1:]]))
    queues = [iter(own[1:]) for own in pieces]
    fed = [stream.feed(own[0]) for own in pieces] + [stream.feed(next(queues[at])) for at in order]

    for delta in (*fed, *stream.close()):
        if delta is not None:
            arguments[delta.index] += delta.arguments

    assert list(arguments.values()) == texts


def _cut(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def test_tools_and_choice_are_told_as_openai_tells_them() -> None:
    (told,) = tools_json([Tool("now", "The time.", {"type": "object"})])

    assert told == {
        "type": "function",
        "function": {"name": "now", "description": "The time.", "parameters": {"type": "object"}},
    }
    assert [openai_choice(word) for word in ("required", "now")] == [
        "required",
        {"type": "function", "function": {"name": "now"}},
    ]


TALK = Prompt(
    "Be brief.",
    "",
    (
        Turn("user", "Look.", images=(Image("image/png", "aGk="),)),
        Turn("assistant", "", (ToolCall("c1", "now", '{"zone":"UTC"}'), ToolCall("c2", "now", "{}"))),
        Turn("tool", "9", tool_call_id="c1"),
        Turn("tool", "10", tool_call_id="c2"),
    ),
)


def test_a_conversation_with_calls_in_both_shapes() -> None:
    """It ends with the results: nothing is asked after them."""
    ours, theirs = openai_messages(TALK), ollama_messages(TALK)

    assert [m["role"] for m in ours] == [m["role"] for m in theirs] == ["system", "user", "assistant", "tool", "tool"]
    assert ours[1]["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    assert ours[2]["tool_calls"][0]["function"] == {"name": "now", "arguments": '{"zone":"UTC"}'}
    assert ours[3] == {"role": "tool", "content": "9", "tool_call_id": "c1"}
    assert theirs[1]["images"] == ["aGk="]
    assert theirs[2]["tool_calls"][0]["function"] == {"name": "now", "arguments": {"zone": "UTC"}}
    assert theirs[4] == {"role": "tool", "content": "10", "tool_name": "now", "tool_call_id": "c2"}


def test_calls_results_and_pictures_survive_other_templates() -> None:
    """Neighbours are merged where they are plain text; the system text goes before the picture."""
    messages = openai_messages(TALK)

    assert merged(messages) == messages
    assert folded(messages)[0]["content"][0] == {"type": "text", "text": "Be brief."}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "registry.ollama.ai/library/phi3:mini does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (500, "tools param requires --jinja flag"),
        (400, "Function calling is not enabled for models/gemma-3-27b-it"),
        (400, "This model does not support tool use."),
        (422, "unknown field tools"),
    ],
)
def test_servers_say_that_they_call_no_tools(status: int, error: str) -> None:
    assert refuses_tools(status, error)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, "model does not support tools"),
        (400, "Invalid schema for function 'now': 'objekt' is not valid; tools[0].function.parameters"),
        (400, "tool_choice 'required' is not supported"),
        (500, "Failed to parse tool call arguments as JSON"),
        (400, "Cannot use custom grammar constraints with tools."),
    ],
)
def test_an_error_about_one_request_is_not_about_all_tools(status: int, error: str) -> None:
    assert not refuses_tools(status, error)


def test_a_schema_beside_tools_is_left_out_this_once() -> None:
    error = "Cannot use custom grammar constraints with tools."

    assert left_out(400, error, "", {"response_format", "tools"}) == {"response_format"}
    assert not is_lasting(error)


@pytest.mark.parametrize("name", ["tool_choice", "parallel_tool_calls"])
def test_what_only_guides_the_calls_can_be_left_out(name: str) -> None:
    assert left_out(400, f"Unsupported parameter: {name}", "", {name, "tools"}) == {name}

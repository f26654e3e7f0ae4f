"""From a server's refusal to what it is asked without. The words are those of real servers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers.refusals import (
    NEW_LIMIT,
    ROLES,
    SYSTEM_ROLE,
    changeable,
    is_about_context,
    is_lasting,
    left_out,
    named_field,
    without,
)

CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
TWICE = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
BODY: dict[str, Any] = {
    "model": "m",
    "messages": CHAT,
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 9,
    "temperature": 0.2,
    "seed": 1,
    "stop": ["x"],
    "response_format": {"type": "json_schema"},
    "logprobs": True,
    "top_logprobs": 3,
    "chat_template_kwargs": {"enable_thinking": False},
    "reasoning_effort": "low",
}
OLLAMA: dict[str, Any] = {
    "model": "m",
    "messages": CHAT,
    "format": {},
    "think": True,
    "truncate": False,
    "logprobs": True,
    "top_logprobs": 2,
    "keep_alive": "5m",
    "options": {},
}


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, "This response_format type is unavailable now", {"response_format"}),
        (422, "extra fields not permitted: stream_options", {"stream_options"}),
        (400, "The provided JSON schema contains features not supported by xgrammar.", {"response_format"}),
        (400, "Unable to generate parser: JSON schema error at #: unrecognized type", {"response_format"}),
        (500, "Failed to parse grammar", {"response_format"}),
        (400, "System role not supported", {SYSTEM_ROLE}),
        (500, "Value is not callable: role 'system' is not supported by this template", {SYSTEM_ROLE}),
        (400, "This model does not support system instructions", {SYSTEM_ROLE}),
        (400, "Only user and assistant roles are supported!", {SYSTEM_ROLE}),
        (500, "Unexpected system message", {SYSTEM_ROLE}),
        (400, "Conversations must start with a user prompt.", {SYSTEM_ROLE}),
        (400, "First message must be from user", {SYSTEM_ROLE}),
        (400, "invalid role: system, must be one of [user assistant]", {SYSTEM_ROLE}),
        (422, "Input should be 'user', 'assistant' or 'tool'", {SYSTEM_ROLE}),
        (422, "Input tag 'system' found using 'role' does not match: 'user', 'assistant'", {SYSTEM_ROLE}),
        (400, "Conversation roles must alternate user/assistant/user/assistant/...", {SYSTEM_ROLE, ROLES}),
        (
            400,
            "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
            {NEW_LIMIT},
        ),
        (400, "'max_tokens' or 'max_completion_tokens' is too large: 256. The context length is 64.", {"max_tokens"}),
        (400, "Unsupported value: 'temperature' does not support 0.2 with this model.", {"temperature"}),
        (400, "logprobs is not supported: top_logprobs", {"logprobs", "top_logprobs"}),
        (400, "Unrecognized request argument supplied: chat_template_kwargs", {"chat_template_kwargs"}),
        (400, "Input should be 'low' (reasoning_effort)", {"reasoning_effort"}),
        (400, "Invalid reasoning effort: low. Must be none", {"reasoning_effort", "chat_template_kwargs"}),
        (400, "chat_template is not supported for Mistral", {"reasoning_effort", "chat_template_kwargs"}),
        (400, "invalid stop: 'stop' takes one text", {"stop"}),
        (400, "temperature is not supported with this model", {"temperature"}),
        (400, "this model does not support logprobs", {"logprobs", "top_logprobs"}),
        (400, "unexpected field: seed", {"seed"}),
        (400, "please stop asking so many questions", set()),
        (400, "the model's seed capital is gone", set()),
        (400, "request (30017 tokens) exceeds the available context size (2048 tokens), try increasing it", set()),
        (401, "response_format needs a better plan", set()),
        (404, "no response_format here", set()),
        (503, "response_format is loading", set()),
    ],
)
def test_what_an_openai_shaped_server_refuses(status: int, error: str, expected: set[str]) -> None:
    body = BODY | {"messages": [*CHAT, *TWICE]}

    assert left_out(status, error, "", changeable(body)) == expected


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (400, '"gemma3:4b" does not support thinking', {"think"}),
        (400, "json: cannot unmarshal string into Go struct field ChatRequest.think of type bool", {"think"}),
        (500, 'invalid format: "xml"; expected "json" or a valid JSON Schema object', {"format"}),
        (400, 'think value "low" is not supported for this model', {"think"}),
        (500, '{"error":"failed to load model vocabulary required for format"}', {"format"}),
        (400, 'unknown field "truncate"', {"truncate"}),
        (500, "model requires more system memory (9.1 GiB) than is available (5.4 GiB)", set()),
        (400, '"nomic-embed-text:latest" does not support chat', set()),
    ],
)
def test_what_ollama_refuses(status: int, error: str, expected: set[str]) -> None:
    assert left_out(status, error, "", changeable(OLLAMA)) == expected


def test_only_what_was_sent_is_left_out() -> None:
    """The rule never invents a change: asking again would be the same."""
    assert left_out(400, "stream_options and 'seed'", "", changeable({"model": "m", "seed": 1})) == {"seed"}
    assert left_out(400, "System role not supported", "", changeable({"messages": TWICE})) == set()


@given(st.text(max_size=200), st.sampled_from([400, 422, 500, 501]), st.sampled_from(["", *BODY]))
def test_a_refusal_leaves_out_less_than_everything_and_never_the_question(text: str, status: int, param: str) -> None:
    """Whatever a server says, the model, the question and the streaming stay."""
    leave_out = left_out(status, text, param, changeable(BODY))

    assert leave_out <= changeable(BODY) | {NEW_LIMIT}
    assert {"model", "messages", "stream"} <= without(BODY, leave_out).keys()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"error": {"message": "no", "param": "response_format.type"}}, "response_format"),
        ({"message": "no", "param": "seed"}, "seed"),
        ({"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]}, "stream_options"),
        ({"detail": [{"loc": ["body", "response_format", "json_schema", "schema"]}]}, "response_format"),
        ({"error": {"message": "no", "param": None}}, ""),
        ({"error": "no"}, ""),
        ({"detail": []}, ""),
        ({"detail": [7]}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_field_that_an_error_names(body: Any, field: str) -> None:
    assert named_field(body) == field


def test_a_named_field_needs_no_words() -> None:
    assert left_out(422, json.dumps({"detail": "no"}), "stop", changeable(BODY)) == {"stop"}


def test_the_limit_gets_its_new_name() -> None:
    changed = without(BODY, {NEW_LIMIT})

    assert (changed["max_completion_tokens"], "max_tokens" in changed) == (9, False)


def test_a_limit_refused_by_its_new_name_too_is_not_sent() -> None:
    changed = without(BODY, {NEW_LIMIT, "max_completion_tokens"})

    assert not {"max_tokens", "max_completion_tokens"} & changed.keys()


def test_the_system_text_moves_into_the_first_turn() -> None:
    assert without(BODY, {SYSTEM_ROLE})["messages"] == [{"role": "user", "content": "Be kind.\n\nHi"}]


def test_neighbours_of_one_role_become_one() -> None:
    assert without({"messages": TWICE}, {ROLES})["messages"] == [{"role": "user", "content": "One.\n\nTwo."}]


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        ("'max_tokens' is too large: the maximum context length is 64", False),
        ("top_logprobs must be at most 5", False),
        ("response_format is not supported", True),
    ],
)
def test_what_is_remembered(error: str, *, lasting: bool) -> None:
    """What one question's size is at fault for says nothing of the next."""
    assert is_lasting(error) is lasting


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("request (30017 tokens) exceeds the available context size (2048 tokens)", True),
        ("the prompt is longer than the context length currently available to the model", True),
        ("System role not supported", False),
    ],
)
def test_errors_about_the_context(error: str, *, expected: bool) -> None:
    assert is_about_context(error) is expected

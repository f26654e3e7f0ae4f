"""
Requests in the shapes that people's programs send, each with what is odd about it: all of them are answered.

The shapes are from the programs' own trackers and sources; the words in them are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import msgspec
import pytest

from llm_pool.server.components import build_components
from llm_pool.server.openai_messages import ChoiceBody, choice_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

HELLO: Any = [{"role": "user", "content": "hello"}]
OBJECT: Any = {"type": "object"}
CALL: Any = {"id": "c1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
DRAFT_7: Any = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "address": {"type": "string", "format": "uri"},
        "zone": {"oneOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "more": {"type": "object", "propertyNames": {"pattern": "^x"}, "additionalProperties": {"type": "string"}},
        "any": True,
    },
    "required": ["address"],
    "additionalProperties": False,
}


def function(parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "now", "strict": True, "parameters": parameters}}


def called(call: Any, result: Any) -> list[Any]:
    """A conversation with *call* and its *result*."""
    return [*HELLO, {"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", **result}]


CHAT: dict[str, Any] = {
    "Open WebUI's own fields": {"chat_id": "c", "session_id": "s", "features": {}, "metadata": {"files": [{"a": 1}]}},
    "Cline's parts with cache marks": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}
        ]
    },
    "Roo's thoughts, sent back": {
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "hi"}],
                "reasoning_content": "hm",
            },
            *HELLO,
        ]
    },
    "Cursor's parts of the Responses API": {
        "messages": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    },
    "Zed's empty lists": {"tools": [], "tool_choice": "auto", "stop": [], "parallel_tool_calls": False, "n": 1},
    "n8n's limit that is none": {"max_tokens": -1, "response_format": {"type": "text"}},
    "SillyTavern's empty turns and nulls": {
        "messages": [
            {"role": "assistant", "content": "*waves*", "name": "Char"},
            {"role": "user", "content": ""},
            *HELLO,
        ],
        "logprobs": None,
        "top_logprobs": None,
        "logit_bias": {},
        "reasoning_effort": "auto",
    },
    "JetBrains' developer": {"messages": [{"role": "developer", "content": "Be brief."}, *HELLO], "store": False},
    "Continue's prediction": {"prediction": {"type": "content", "content": "x"}, "keep_alive": 1800},
    "a newer service's fields": {"service_tier": "auto", "modalities": ["text"], "audio": None, "verbosity": "low"},
    "a call without arguments": {"messages": called({**CALL, "function": {"name": "now"}}, {"tool_call_id": "c1"})},
    "a call with an object": {
        "messages": called({**CALL, "function": {"name": "now", "arguments": {"zone": "UTC"}}}, {"tool_call_id": "c1"})
    },
    "a result in parts": {
        "messages": called(CALL, {"tool_call_id": "c1", "content": [{"type": "text", "text": "12:00"}], "name": "now"})
    },
    "ids of thousands of letters": {
        "messages": called({**CALL, "id": "c" * 5000}, {"tool_call_id": "c" * 5000, "content": "12:00"})
    },
    "MCP's schemas of an older draft": {"tools": [function(DRAFT_7)]},
    "Go's nulls for what is empty": {"tools": [function({**OBJECT, "properties": None, "required": None})]},
    "a function without parameters": {"tools": [function(None)]},
    "llama-server's place for a schema": {
        "response_format": {"type": "json_object", "schema": {**OBJECT, "properties": {"a": {"type": "integer"}}}}
    },
}
RESPONSES: dict[str, Any] = {
    "Codex's tools and fields": {
        "input": [{"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "x"}]}, *HELLO],
        "tools": [{"type": "web_search"}, {"type": "tool_search"}, {"type": "custom", "name": "apply_patch"}],
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "medium", "summary": "auto"},
        "client_metadata": {"a": "b"},
        "text": {"verbosity": "low"},
        "store": False,
    },
    "Codex's history": {
        "input": [
            *HELLO,
            {"type": "reasoning", "summary": [], "content": None, "encrypted_content": "x"},
            {"type": "ghost_snapshot", "ghost_commit": {}},
            {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "c1"},
            {"type": "function_call_output", "call_id": "c1", "output": '{"output":"x"}'},
            {"type": "compaction", "encrypted_content": "x"},
        ]
    },
    "an agent's null state": {"previous_response_id": None, "conversation": None, "background": False, "store": True},
    "a length as a fraction": {"max_output_tokens": 100.0, "metadata": {"a": 1}},
}
CLAUDE: dict[str, Any] = {
    "Claude Code's fields": {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": []},
        "output_config": {"effort": "medium"},
        "metadata": {"user_id": "u"},
        "tools": [
            {"name": "Bash", "input_schema": DRAFT_7, "eager_input_streaming": True},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ],
    },
    "Claude Code's probe": {"max_tokens": 1, "messages": [{"role": "user", "content": "quota"}]},
    "a result without content": {
        "messages": [
            *HELLO,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        ]
    },
    "a text that is empty": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "hello"}]}]
    },
}
OLLAMA: dict[str, Any] = {
    "every option there is": {
        "options": {
            "num_ctx": 8192,
            "num_predict": -1,
            "temperature": 0.2,
            "top_k": 40,
            "num_gpu": 1,
            "use_mmap": True,
        },
        "keep_alive": "5m",
    },
    "its newest word for thinking": {"think": "max"},
    "an empty format": {"format": ""},
    "a call with text for arguments": {
        "messages": [
            *HELLO,
            {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": '{"zone":"UTC"}'}}]},
            {"role": "tool", "content": "12:00", "name": "now"},
        ]
    },
    "Go's nulls for what is empty": {"tools": [function({**OBJECT, "properties": None, "required": None})]},
    "fields of its own client": {"truncate": True, "shift": True},
}
ROWS = [
    *(pytest.param("/v1/chat/completions", row, id=f"chat: {name}") for name, row in CHAT.items()),
    *(
        pytest.param("/v1/responses", {"input": "hello", **row}, id=f"responses: {name}")
        for name, row in RESPONSES.items()
    ),
    *(pytest.param("/v1/messages", {"max_tokens": 99, **row}, id=f"messages: {name}") for name, row in CLAUDE.items()),
    *(pytest.param("/api/chat", {"stream": False, **row}, id=f"ollama: {name}") for name, row in OLLAMA.items()),
]


@pytest.fixture
async def pool(daemons: Any, config_for: Any) -> AsyncIterator[Any]:
    components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
    async with daemons(components=components) as running:
        yield running


@pytest.mark.parametrize(("path", "row"), ROWS)
async def test_it_is_answered(pool: Any, ask: Any, path: str, row: dict[str, Any]) -> None:
    """With 200; nothing that was said to the models is lost."""
    messages = {} if path == "/v1/responses" else {"messages": HELLO}

    reply = await ask(pool.url, "POST", path, {"model": "pool", **messages, **row})

    assert reply.status == 200, reply.body
    (asked,) = [entry.body for entry in pool.upstream.journal.entries if entry.path == "/api/chat"]
    said = msgspec.json.encode(asked).decode()
    assert "hello" in said or "quota" in said


@pytest.mark.parametrize(
    ("choice", "word"),
    [
        ("any", "required"),
        ({"type": "function", "name": "now"}, "now"),
        ({"type": "function", "function": {"name": "now"}}, "now"),
        (None, "auto"),
    ],
)
async def test_a_choice_is_read_as_it_is_meant(choice: Any, word: str) -> None:
    """Mistral's word for a must, the Responses API's way to name a function."""
    assert choice_of(msgspec.convert(choice, str | ChoiceBody | None)) == word


async def test_anthropics_client_lists_the_models(pool: Any) -> None:
    """With the fields that its shape has, beside OpenAI's."""
    async with anthropic.AsyncAnthropic(base_url=pool.url, api_key="none", max_retries=0) as client:
        listed = [model async for model in client.models.list()]
        one = await client.models.retrieve("phi3")

    assert [model.id for model in listed][:3] == ["phi3", "llama3.1", "gemma2"]
    assert (one.type, one.display_name, one.created_at.year > 2000) == ("model", "phi3", True)

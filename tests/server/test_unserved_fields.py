"""What is not served is told, or goes on to the one provider that is asked; errors name the client's own field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.config.values import Driver
from llm_pool.core.messages import Call, Prompt
from llm_pool.providers.openai import request_body
from llm_pool.providers.sampling_fields import TAKEN
from llm_pool.server.components import build_components
from llm_pool.tasks import ASK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]
FOREIGN = {
    "top_p": 0.5,
    "top_k": 5,
    "min_p": 0.1,
    "repetition_penalty": 1.2,
    "guided_json": {"type": "object"},
    "chat_template_kwargs": {"enable_thinking": False, "builtin_tools": []},
    "user": "me",
    "store": True,
    "metadata": {"a": "b"},
    "parallel_tool_calls": None,
}


@pytest.fixture
async def pool(daemons: Any, config_for: Callable[..., Config]) -> AsyncIterator[Any]:
    """A daemon with all its HTTP parts."""
    components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
    async with daemons(components=components) as running:
        yield running


@pytest.mark.parametrize(
    ("model", "ignored"),
    [
        ("pool", set(FOREIGN) - {"metadata", "parallel_tool_calls"}),
        ("phi3", {"guided_json", "chat_template_kwargs", "user", "store"}),
    ],
)
async def test_every_field_that_is_not_served_is_told(pool: Any, ask: Any, model: str, ignored: set[str]) -> None:
    """All that say something; one of Ollama's models takes those of its options."""
    body = {"model": model, "messages": MESSAGES, **FOREIGN}

    whole = await ask(pool.url, "POST", "/v1/chat/completions", body)
    streamed = await ask(pool.url, "POST", "/v1/chat/completions", {**body, "stream": True})

    assert set(whole.json["llm_pool"]["ignored"]) == ignored
    assert all(f'"{name}"'.encode() in streamed.body.split(b'"ignored":')[1] for name in ignored)


async def test_ollamas_options_are_told_or_passed_on(pool: Any, ask: Any) -> None:
    """What would load a model anew is not a client's to say."""
    options = {"temperature": 0.1, "top_k": 5, "num_ctx": 8192, "num_gpu": 0}
    body = {"messages": MESSAGES, "options": options, "stream": False, "keep_alive": "5m", "shift": True}

    replies = [await ask(pool.url, "POST", "/api/chat", {"model": name, **body}) for name in ("pool", "phi3")]

    told = [reply.json["llm_pool"]["ignored"] for reply in replies]
    nowhere = ["num_ctx", "num_gpu", "keep_alive", "shift"]
    assert told == [["top_k", *nowhere], nowhere]


def test_what_is_passed_on_lies_below_what_the_pool_says() -> None:
    """Nothing of it can change what is asked of whom."""
    extra = {"top_k": 5, "guided_json": {}, "chat_template_kwargs": {"enable_thinking": True, "other": 1}, "model": "x"}
    call = Call(
        request_id="r",
        task=ASK,
        input="hi",
        prompt=Prompt("", "hi"),
        schema=None,
        ids=(),
        max_tokens=None,
        temperature=0.5,
        began=0.0,
        deadline=1.0,
        extra={**extra, "messages": [], "temperature": 2},
    )

    body = request_body("m", call, think=False)

    assert (body["model"], body["temperature"], body["top_k"], body["guided_json"]) == ("m", 0.5, 5, {})
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert {"enable_thinking": False, "other": 1}.items() <= body["chat_template_kwargs"].items()
    for taken in TAKEN.values():
        assert not {"model", "messages", "stream", "options", "num_ctx", "keep_alive", "max_tokens"} & taken.keys()
    assert Driver.LLAMACPP not in TAKEN


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"model": "pool/task/rerank_candidates"}, "messages[1].content"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 5}}}}, "response_format"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ],
)
async def test_param_is_the_clients_own_field(pool: Any, ask: Any, change: dict[str, Any], param: str) -> None:
    """Where the client wrote it, in OpenAI's words."""
    reply = await ask(pool.url, "POST", "/v1/chat/completions", {"model": "pool", "messages": MESSAGES, **change})

    assert reply.status == 400
    assert reply.json["error"]["param"].startswith(param)
    assert reply.json["error"]["message"].startswith(reply.json["error"]["param"])


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/api/chat", {"options": {"temperature": 9}}, "options.temperature: "),
        ("/api/chat", {"options": {"seed": "x"}}, "options.seed: "),
        ("/api/chat", {"format": {"type": 5}}, "format: "),
        ("/api/chat", {"model": "pool/task/rerank_candidates"}, "messages[1].content: "),
        ("/api/generate", {"model": "pool/task/rerank_candidates", "prompt": "x"}, "prompt: "),
    ],
)
async def test_ollamas_errors_name_it_too(pool: Any, ask: Any, path: str, change: dict[str, Any], field: str) -> None:
    body = {"model": "pool", **({"messages": MESSAGES} if path == "/api/chat" else {}), "stream": False, **change}

    reply = await ask(pool.url, "POST", path, body)

    assert reply.status == 400
    assert reply.json["error"].startswith(field)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/infer", {"prompt": "hello"}),
        ("/v1/chat/completions", {"model": "pool", "messages": MESSAGES}),
        ("/api/chat", {"model": "pool", "messages": MESSAGES}),
    ],
)
@pytest.mark.parametrize("mode", ["error:500", "hang"])
async def test_no_error_tells_a_client_to_type_a_command(
    pool: Any, ask: Any, path: str, body: dict[str, Any], mode: str
) -> None:
    """It is on another machine, or a program."""
    pool.upstream.set_mode("*", mode)

    reply = await ask(pool.url, "POST", path, body, X_Deadline_Ms="200")

    assert reply.status in {502, 503, 504}
    assert b"llm-pool " not in reply.body
    assert b"--" not in reply.body


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/infer", rb'{"prompt":"cut \ud83d"}'),
        ("/v1/infer", rb'{"prompt":{"text":"cut \ud83d"}}'),
        ("/v1/chat/completions", rb'{"model":"pool","messages":[{"role":"user","content":"cut \ud83d"}]}'),
        ("/api/chat", rb'{"model":"pool","stream":false,"messages":[{"role":"user","content":"cut \ud83d"}]}'),
        ("/api/generate", rb'{"model":"pool","stream":false,"prompt":"\udc00 cut"}'),
    ],
)
async def test_half_a_character_is_read_as_the_replacement_character(
    pool: Any, ask: Any, path: str, body: bytes
) -> None:
    reply = await ask(pool.url, "POST", path, body)

    assert reply.status == 200
    assert "�" in reply.body.decode()


async def test_a_project_that_is_no_name_is_refused(pool: Any, ask: Any) -> None:
    """It would be in every log line and trace."""
    body = {"model": "pool", "messages": MESSAGES}

    reply = await ask(pool.url, "POST", "/v1/chat/completions", body, OpenAI_Project="p" * 201)

    assert (reply.status, reply.json["error"]["param"]) == (400, "OpenAI-Project")

"""A server that refuses a parameter is asked once more without it, and not again with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import ProviderError, Rejected
from llm_pool.providers.asking import MAX_TRIES, Asking, merged_json
from llm_pool.providers.replies import error_for
from llm_pool.providers.transport import Backend, Reply, Transport

if TYPE_CHECKING:
    from tests.providers.conftest import Bytes

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Serving = Callable[..., Any]
CHAT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


def refusing(*names: str, status: str = "400 Bad Request", words: str = "{name} is not supported") -> Any:
    """Refuses the first of *names* that it is sent, each in its turn."""

    async def serve(visit: Any) -> None:
        for name in names:
            if name in visit.json:
                return visit.whole(json.dumps({"error": {"message": words.format(name=name)}}).encode(), status)
        return visit.whole(b'{"ok": true}')

    return serve


async def asked(asking: Asking, backend: Backend, body: dict[str, Any]) -> bytes:
    def error(reply: Reply) -> ProviderError:
        return error_for(backend, reply)

    async with asking.ask("/chat", body, error) as response:
        return (await response.read()).body


def made(server: Bytes, transport: Transport, **settings: Any) -> tuple[Asking, Backend]:
    backend = Backend("phi", server.url)
    return Asking(backend, transport, **settings), backend


async def test_it_is_asked_without_and_that_is_remembered(serving: Serving, transport: Transport) -> None:
    body = {"model": "m", "stream_options": {}, "response_format": {}}
    async with serving(refusing("stream_options", "response_format")).listening() as server:
        asking, backend = made(server, transport)
        assert await asked(asking, backend, body) == b'{"ok": true}'
        assert await asked(asking, backend, body) == b'{"ok": true}'

    assert [sorted(visit.json) for visit in server.visits] == [
        ["model", "response_format", "stream_options"],
        ["model", "response_format"],
        ["model"],
        ["model"],
    ]


async def test_another_provider_knows_nothing_of_it(serving: Serving, transport: Transport) -> None:
    async with serving(refusing("stream_options")).listening() as server:
        for _ in range(2):
            asking, backend = made(server, transport)
            await asked(asking, backend, {"model": "m", "stream_options": {}})

    assert len(server.visits) == 4


async def test_what_this_question_is_too_long_for_is_not_remembered(serving: Serving, transport: Transport) -> None:
    words = "'{name}' is too large for the context length"
    async with serving(refusing("max_tokens", words=words)).listening() as server:
        asking, backend = made(server, transport)
        for _ in range(2):
            await asked(asking, backend, {"model": "m", "max_tokens": 9})

    assert [("max_tokens" in visit.json) for visit in server.visits] == [True, False, True, False]


async def test_a_refusal_of_nothing_optional_is_an_error(serving: Serving, transport: Transport) -> None:
    async with serving(refusing("model", words="the {name} is unknown")).listening() as server:
        asking, backend = made(server, transport)
        with pytest.raises(Rejected, match="400: the model is unknown"):
            await asked(asking, backend, {"model": "m", "seed": 1})

    assert len(server.visits) == 1


async def test_a_prompt_that_does_not_fit_says_what_to_do(serving: Serving, transport: Transport) -> None:
    words = "request (30017 tokens) exceeds the available context size (2048 tokens)"
    async with serving(refusing("model", words=words)).listening() as server:
        asking, backend = made(server, transport)
        with pytest.raises(Rejected, match="30017 tokens") as caught:
            await asked(asking, backend, {"model": "m"})

    assert caught.value.hint == "shorten the prompt, or raise context of provider phi"


async def test_a_server_that_refuses_without_end_is_not_asked_without_end(
    serving: Serving, transport: Transport
) -> None:
    names = ("response_format", "stream_options", "reasoning_effort", "chat_template_kwargs", "top_logprobs")
    async with serving(refusing(*names, "max_tokens", "keep_alive", "model")).listening() as server:
        asking, backend = made(server, transport)
        with pytest.raises(Rejected):
            await asked(asking, backend, dict.fromkeys((*names, "max_tokens", "keep_alive", "model"), 1))

    assert len(server.visits) == MAX_TRIES


async def test_another_body_is_tried_once(serving: Serving, transport: Transport) -> None:
    """What the error makes of it; a second refusal is an error, and so is one at the last try."""
    names = ("response_format", "stream_options", "reasoning_effort", "chat_template_kwargs", "top_logprobs")
    async with serving(refusing(*names, "model", words="the {name} is unknown")).listening() as server:
        asking, backend = made(server, transport)
        for body in ({"model": "m"}, dict.fromkeys((*names, "model"), 1)):
            with pytest.raises(Rejected, match="the model is unknown"):
                async with asking.ask(
                    "/chat", body, lambda reply: error_for(backend, reply), lambda error: {"model": "other"}
                ):
                    raise AssertionError

    assert [visit.json for visit in server.visits[:2]] == [{"model": "m"}, {"model": "other"}]
    assert len(server.visits) == 2 + MAX_TRIES


async def test_the_system_role_is_folded_where_it_is_refused(serving: Serving, transport: Transport) -> None:
    async def serve(visit: Any) -> None:
        if visit.json["messages"][0]["role"] == "system":
            return visit.whole(b'{"message": "System role not supported"}', "400 Bad Request")
        return visit.whole(b"{}")

    async with serving(serve).listening() as server:
        asking, backend = made(server, transport)
        await asked(asking, backend, {"messages": CHAT})

    assert server.visits[1].json["messages"] == [{"role": "user", "content": "Be kind.\n\nHi"}]


async def test_extra_fields_are_merged_and_are_not_left_out(serving: Serving, transport: Transport) -> None:
    """They are the person's own words: a server that refuses them gives an error that says so."""
    async with serving(refusing("seed", words="'{name}' is not supported")).listening() as server:
        asking, backend = made(server, transport, extra_body={"seed": 7, "options": {"num_gpu": 1}})
        with pytest.raises(Rejected, match="'seed'"):
            await asked(asking, backend, {"model": "m", "options": {"num_ctx": 8}, "seed": 1})

    assert [visit.json for visit in server.visits] == [
        {"model": "m", "options": {"num_ctx": 8, "num_gpu": 1}, "seed": 7}
    ]


def test_objects_are_merged_and_all_else_is_replaced() -> None:
    assert merged_json({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}, "d": [2], "e": None}) == {
        "a": {"b": 1, "c": 3},
        "d": [2],
        "e": None,
    }

"""A question put to an HTTP backend: sent as its server takes it, and once more without what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import PromptTooLong, Rejected, UnsupportedTools
from llm_pool.providers.refusals import (
    changeable,
    is_about_context,
    is_lasting,
    left_out,
    named_field,
    refuses_tools,
    without,
)
from llm_pool.providers.replies import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from llm_pool.core.errors import ProviderError
    from llm_pool.core.messages import Json
    from llm_pool.providers.transport import Backend, Reply, Response, Transport

MAX_TRIES = 6
"""Requests for one question at most: a server names what it refuses all at once, or one after the other."""


class Asking:
    """
    How one backend is asked.

    What its server has refused is remembered while the process lives: names of fields that we may send, so a
    bounded number of them.

    Args:
        backend: who.
        transport: shared.
        extra_body: merged into every body at last; a server that refuses something of it is not asked without.

    Attributes:
        refuses_tools: it has said that it calls none.
    """

    def __init__(self, backend: Backend, transport: Transport, extra_body: Mapping[str, Json] | None = None) -> None:
        self._backend, self._transport = backend, transport
        self._extra_body = dict(extra_body or {})
        self._refused: frozenset[str] = frozenset()
        self.refuses_tools = False

    def ask(
        self,
        path: str,
        body: dict[str, Any],
        error_for: Callable[[Reply], ProviderError],
        adjusted: Callable[[str], dict[str, Any] | None] = lambda _: None,
        *,
        trace: Mapping[str, str] | None = None,
    ) -> AbstractAsyncContextManager[Response]:
        """
        Send *body* to *path* on entering, and give the response that begins well; leaving ends it.

        Args:
            path: appended to the backend's base_url.
            body: everything that is wanted of the server.
            error_for: the error for a response of another status than 200.
            adjusted: another body to ask with, by an error's words; None: there is none. Asked for once.
            trace: the asker's trace context, as headers.

        Raises:
            UnsupportedTools: *body* has tools, and the server takes none.
            ProviderError: what *error_for* gives, and what ``Transport.stream`` raises.
        """
        return _Question(self._begun(path, body, error_for, adjusted, trace or {}))

    async def _begun(
        self,
        path: str,
        body: dict[str, Any],
        error_for: Callable[[Reply], ProviderError],
        adjusted: Callable[[str], dict[str, Any] | None],
        trace: Mapping[str, str],
    ) -> tuple[Response, AbstractAsyncContextManager[Response]]:
        """The response with status 200, and what it is left by."""
        if "tools" in body and self.refuses_tools:
            raise UnsupportedTools(self._backend.name, "its server has said that it calls no tools")
        refused, may_adjust, remaining = self._refused, True, MAX_TRIES
        while True:
            remaining -= 1
            sent = without(body, refused) if refused else body
            data = msgspec.json.encode(merged_json(sent, self._extra_body) if self._extra_body else sent)
            exchange = self._transport.stream(self._backend, "POST", path, data, trace)
            response = await exchange.__aenter__()
            if response.status == 200:
                return response, exchange
            reply = await _read(response, exchange)
            if "tools" in sent and refuses_tools(reply.status, _words(reply.body)):
                self.refuses_tools = True
                raise UnsupportedTools(self._backend.name, f"{reply.status}: {error_text(self._backend, reply.body)}")
            more = self._refused_by(reply, sent) - refused
            other = adjusted(_words(reply.body)) if may_adjust and not more else None
            if not remaining or (not more and other is None):
                raise _with_way_out(error_for(reply))
            if other is not None:
                body, may_adjust = other, False
            refused |= more
            if is_lasting(error_text(self._backend, reply.body)):
                self._refused |= more

    def _refused_by(self, reply: Reply, sent: dict[str, Any]) -> frozenset[str]:
        ours = changeable(sent) - self._extra_body.keys()
        return left_out(reply.status, _words(reply.body), named_field(_parsed(reply.body)), ours)


class _Question:
    """One question, while the block runs: entering asks it, by *begun*."""

    __slots__ = ("_begun", "_exchange")

    def __init__(self, begun: Coroutine[Any, Any, tuple[Response, AbstractAsyncContextManager[Response]]]) -> None:
        self._begun = begun

    async def __aenter__(self) -> Response:
        response, self._exchange = await self._begun
        return response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.__aexit__(kind, error, trace)


async def _read(response: Response, exchange: AbstractAsyncContextManager[Response]) -> Reply:
    """The whole of *response*, which ends *exchange*."""
    try:
        return await response.read()
    finally:
        await exchange.__aexit__(None, None, None)


def _with_way_out(error: ProviderError) -> ProviderError:
    """*error*, with what a person can do where the prompt does not fit."""
    if isinstance(error, Rejected) and not error.hint and is_about_context(error.reason):
        return PromptTooLong(
            error.provider, error.reason, hint=f"shorten the prompt, or raise context of provider {error.provider}"
        )
    return error


def merged_json(base: dict[str, Any], over: Mapping[str, Json]) -> dict[str, Any]:
    """*base* with *over* laid on it, object by object; *over* wins."""
    result = dict(base)
    for name, value in over.items():
        inner = result.get(name)
        result[name] = merged_json(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def _words(body: bytes) -> str:
    return body.decode("utf-8", "replace").replace('\\"', '"')


def _parsed(body: bytes) -> Json:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None

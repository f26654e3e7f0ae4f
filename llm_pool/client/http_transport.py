"""A daemon over HTTP, by httpx2."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from llm_pool.client.transport import CONNECT, Health, unreachable
from llm_pool.core.errors import DeadlineExceeded, LlmPoolError
from llm_pool.wire.json import EventDecoder, answer_from, error_from, state_from

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from llm_pool.client.credentials import Credentials, Tls
    from llm_pool.core.messages import Answer, Json, Query
    from llm_pool.wire.json import StreamEvent

GRACE = 1.0
"""Seconds beyond its deadline that a server gets to say that it passed."""


class HttpTransport:
    """
    One server.

    Args:
        url: ``http://host:port`` or ``https://host:port``, perhaps with a path before ours.
        credentials: prove each request; None: nobody asks who we are.
        tls: for ``https``.
    """

    def __init__(self, url: str, credentials: Credentials | None, tls: Tls) -> None:
        self._url, self._credentials = url.rstrip("/"), credentials
        self._prefix = urlsplit(self._url).path
        verify = _context(tls) if url.startswith("https") else False
        self._http = httpx2.AsyncClient(verify=verify, trust_env=False, timeout=httpx2.Timeout(None, connect=CONNECT))

    async def infer(self, query: Query, remaining: float | None) -> Answer:
        """The answer."""
        response = await self._ask("POST", "/v1/infer", _body(query), remaining)
        return answer_from(_json(response))

    async def stream(self, query: Query, remaining: float | None) -> AsyncGenerator[StreamEvent]:
        """What happens, last the answer."""
        decoder, kind = EventDecoder(query.request_id), ""
        request = self._request("POST", "/v1/infer", _body(query, stream=True), remaining)
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code != 200:
                    await response.aread()
                    raise _error(response)
                async for kind, data in _events(response):
                    if kind == "error":
                        raise error_from(data)
                    event = decoder.decode({"type": kind, **data})
                    if event is not None:
                        yield event
                if kind != "answer":
                    raise unreachable(self._url, "it closed the connection in the middle of an answer")
            finally:
                await response.aclose()
        except httpx2.TimeoutException as error:
            raise self._late(error, remaining) from error
        except httpx2.HTTPError as error:
            raise self._gone(error) from error

    async def health(self) -> Health:
        """How the backends are; a server without a healthy one says so with a status of its own."""
        body = _json(await self._ask("GET", "/health", b"", CONNECT, accept=(200, 503)))
        if "healthy" not in body:
            raise error_from(body)
        return Health(body["healthy"], tuple(state_from(state) for state in body["providers"]), body["version"])

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Whether something was learned of it."""
        body = msgspec.json.encode({"request_id": request_id, "good": good})
        learned: bool = _json(await self._ask("POST", "/v1/feedback", body, None))["learned"]
        return learned

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, body: bytes, remaining: float | None, *, accept: tuple[int, ...] = (200,)
    ) -> httpx2.Response:
        try:
            response = await self._http.send(self._request(method, path, body, remaining))
        except httpx2.TimeoutException as error:
            raise self._late(error, remaining) from error
        except httpx2.HTTPError as error:
            raise self._gone(error) from error
        if response.status_code not in accept:
            raise _error(response)
        return response

    def _request(self, method: str, path: str, body: bytes, remaining: float | None) -> httpx2.Request:
        headers: dict[str, str] = {"content-type": "application/json"} if body else {}
        if remaining is not None:
            headers["x-deadline-ms"] = str(max(1, int(remaining * 1000)))
        if self._credentials is not None:
            headers |= self._credentials.headers(method, self._prefix + path, headers, body)
        timeout = httpx2.Timeout(None if remaining is None else remaining + GRACE, connect=CONNECT)
        return self._http.build_request(method, self._url + path, content=body, headers=headers, timeout=timeout)

    def _late(self, error: httpx2.TimeoutException, remaining: float | None) -> LlmPoolError:
        if remaining is None or isinstance(error, httpx2.ConnectTimeout):
            return unreachable(self._url, "it takes too long to connect")
        return DeadlineExceeded(remaining)

    def _gone(self, error: httpx2.HTTPError) -> LlmPoolError:
        return unreachable(self._url, str(error) or type(error).__name__)


def _body(query: Query, *, stream: bool = False) -> bytes:
    fields: Mapping[str, Json] = {
        "task": query.task,
        "request_id": query.request_id,
        "tenant_id": query.tenant_id,
        "project_id": query.project_id,
        "max_tokens": query.max_tokens,
        "deadline_ms": None if query.deadline is None else query.deadline * 1000,
        "strategy": query.strategy,
        "meta": query.meta,
        "no_cache": query.no_cache,
        "stream": stream,
    }
    given = {name: value for name, value in fields.items() if value not in (None, "", {}, False)}
    if query.think is not None:
        given["think"] = query.think
    return msgspec.json.encode({"prompt": query.prompt, **given})


async def _events(response: httpx2.Response) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """Server-sent events: type and data. Ours have one data line each."""
    kind = ""
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, msgspec.json.decode(value)


def _error(response: httpx2.Response) -> LlmPoolError:
    try:
        return error_from(_json(response))
    except (KeyError, TypeError, ValueError):
        return LlmPoolError(f"{response.url.host} answered {response.status_code}, which is not llm-pool's way")


def _json(response: httpx2.Response) -> Any:
    return msgspec.json.decode(response.content)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context

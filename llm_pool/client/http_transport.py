"""A daemon over HTTP, by httpx2."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from llm_pool.client.events import SseDecoder
from llm_pool.client.transport import CONNECT, Health, unreachable
from llm_pool.core.errors import DeadlineExceeded, LlmPoolError, Unreachable
from llm_pool.wire.json import EventDecoder, answer_from, error_from, state_from

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from llm_pool.client.credentials import Credentials, Tls
    from llm_pool.client.events import ServerEvent
    from llm_pool.core.messages import Answer, Json, Query, Turn
    from llm_pool.wire.json import StreamEvent

_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, RecursionError, StopIteration)
"""What reading a body of somebody else's may raise; msgspec's errors are ValueErrors."""
_SHOWN = 120
"""Characters of an address in an error."""
GRACE = 1.0
"""Seconds beyond its deadline that a server gets to say that it passed."""
DEFAULT_TASK = "ask"
"""What a query without a task is; ours is left out, as the server knows it."""
MAX_DEADLINE = 999_999_999
"""Milliseconds that the header can say, as a signature covers nine digits; the body has the query's own deadline."""


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
        response = await self._ask("POST", "/v1/infer", body_of(query), remaining)
        with _expecting("an answer", response):
            return answer_from(_json(response))

    async def stream(self, query: Query, remaining: float | None) -> AsyncGenerator[StreamEvent]:
        """What happens, last the answer."""
        decoder, kind = EventDecoder(query.request_id), ""
        request = self._request("POST", "/v1/infer", body_of(query, stream=True), remaining)
        until = _until(remaining)
        try:
            async with asyncio.timeout_at(until):
                response = await self._http.send(request, stream=True)
            try:
                if not _is_stream(response):
                    async with asyncio.timeout_at(until):
                        await response.aread()
                    raise _error(response) if response.status_code != 200 else _foreign(response, "events")
                async for kind, text in _events(response, until):
                    with _expecting("an event", response):
                        data = msgspec.json.decode(text, type=dict[str, Any])
                        error = error_from(data) if kind == "error" else None
                        event = None if error is not None else decoder.decode({"type": kind, **data})
                    if error is not None:
                        raise error
                    if event is not None:
                        yield event
                if kind != "answer":
                    raise unreachable(self._url, "it closed the connection in the middle of an answer")
            finally:
                await response.aclose()
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise self._late(error, remaining) from error
        except httpx2.HTTPError as error:
            raise self._gone(error) from error

    async def health(self) -> Health:
        """How the backends are; a server without a healthy one says so with a status of its own."""
        response = await self._ask("GET", "/health", b"", CONNECT, accept=(200, 503))
        with _expecting("its health", response):
            body = _json(response)
            if "healthy" in body:
                return Health(body["healthy"], tuple(state_from(state) for state in body["providers"]), body["version"])
            error = error_from(body)
        raise error

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Whether something was learned of it."""
        body = msgspec.json.encode({"request_id": request_id, "good": good})
        response = await self._ask("POST", "/v1/feedback", body, None)
        with _expecting("what was learned", response):
            learned: bool = _json(response)["learned"]
            return learned

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _ask(
        self, method: str, path: str, body: bytes, remaining: float | None, *, accept: tuple[int, ...] = (200,)
    ) -> httpx2.Response:
        try:
            async with asyncio.timeout_at(_until(remaining)):
                response = await self._http.send(self._request(method, path, body, remaining))
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise self._late(error, remaining) from error
        except httpx2.HTTPError as error:
            raise self._gone(error) from error
        if response.status_code not in accept:
            raise _error(response)
        return response

    def _request(self, method: str, path: str, body: bytes, remaining: float | None) -> httpx2.Request:
        headers: dict[str, str] = {"content-type": "application/json"} if body else {}
        if remaining is not None:
            headers["x-deadline-ms"] = deadline_header(remaining)
        if self._credentials is not None:
            headers |= self._credentials.headers(method, self._prefix + path, headers, body)
        return self._http.build_request(method, self._url + path, content=body, headers=headers)

    def _late(self, error: Exception, remaining: float | None) -> LlmPoolError:
        if remaining is None or isinstance(error, httpx2.ConnectTimeout):
            return unreachable(self._url, "it takes too long to connect")
        return DeadlineExceeded(remaining)

    def _gone(self, error: httpx2.HTTPError) -> LlmPoolError:
        return unreachable(self._url, str(error) or type(error).__name__)


def deadline_header(remaining: float) -> str:
    """The value of ``X-Deadline-Ms`` where *remaining* seconds are left: whole milliseconds, at least one."""
    return str(min(max(1, int(remaining * 1000)), MAX_DEADLINE))


def body_of(query: Query, *, stream: bool = False) -> bytes:
    """*query* as ``/v1/infer`` takes it; what says nothing is left out."""
    fields: Mapping[str, Json] = {
        "task": "" if query.task == DEFAULT_TASK else query.task,
        "request_id": query.request_id,
        "tenant_id": query.tenant_id,
        "project_id": query.project_id,
        "max_tokens": query.max_tokens,
        "deadline_ms": None if query.deadline is None else query.deadline * 1000,
        "strategy": query.strategy,
        "meta": query.meta,
        "no_cache": query.no_cache,
        "turns": [_turn(turn) for turn in query.turns],
        "output_schema": query.output_schema,
        "stop": query.stop,
        "providers": query.providers,
        "stream": stream,
        "tools": query.tools,
        "tool_choice": "" if query.tool_choice == "auto" else query.tool_choice,
        "images": query.images,
    }
    given = {name: value for name, value in fields.items() if value not in (None, "", {}, (), [], False)}
    chosen = {"think": query.think, "temperature": query.temperature, "seed": query.seed}  # false and 0 say something
    given |= {name: value for name, value in chosen.items() if value is not None}
    if not query.parallel_tool_calls:
        given["parallel_tool_calls"] = False
    return msgspec.json.encode({"prompt": query.prompt, **given})


def _turn(turn: Turn) -> dict[str, Json]:
    given = {name: value for name, value in msgspec.structs.asdict(turn).items() if value}
    return {"role": turn.role, "text": turn.text, **given}


def _until(remaining: float | None) -> float | None:
    """The instant at which a reply that is not whole yet comes too late, where *remaining* seconds are left."""
    return None if remaining is None else asyncio.get_running_loop().time() + remaining + GRACE


def _is_stream(response: httpx2.Response) -> bool:
    kind: str = response.headers.get("content-type", "")
    return response.status_code == 200 and kind.startswith("text/event-stream")


async def _events(response: httpx2.Response, until: float | None) -> AsyncGenerator[ServerEvent]:
    """The events of *response*; raises TimeoutError at *until*, an instant, however much of it has come."""
    decoder, pieces = SseDecoder(), response.aiter_bytes()
    while True:
        async with asyncio.timeout_at(until):
            piece = await anext(pieces, None)
        if piece is None:
            return
        with _expecting("an event", response):
            events = decoder.feed(piece)
        for event in events:
            yield event


def _error(response: httpx2.Response) -> LlmPoolError:
    """The daemon's error or, where a proxy or somebody else answered, one that says so."""
    with suppress(*_UNREADABLE):
        return error_from(_json(response))
    return _foreign(response, "an error that llm-pool sends")


def _foreign(response: httpx2.Response, expected: str) -> LlmPoolError:
    """Something that is no llm-pool answered: a proxy in front of it, a captive portal, another program."""
    place = f"{response.url.scheme}://{response.url.netloc.decode('ascii')}"
    if response.is_redirect:
        target = response.headers.get("location", "elsewhere")[:_SHOWN]
        return Unreachable(place, f"{place} redirects to {target}", hint="give --url that address")
    kind = response.headers.get("content-type", "").partition(";")[0][:_SHOWN] or "no content type"
    reason = f"{place} answered {response.status_code} ({kind}) instead of {expected}"
    return Unreachable(place, reason, hint="something else answers there, perhaps a proxy in front of llm-pool serve")


@contextmanager
def _expecting(what: str, response: httpx2.Response) -> Iterator[None]:
    """Turn whatever fails while *what* is read out of a body into one sentence."""
    try:
        yield
    except _UNREADABLE as error:
        raise _foreign(response, what) from error


def _json(response: httpx2.Response) -> Any:
    return msgspec.json.decode(response.content)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.cert is not None:
        context.load_cert_chain(tls.cert, tls.key)
    return context

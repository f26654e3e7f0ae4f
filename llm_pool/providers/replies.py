"""What a backend's bytes say: JSON into structs, refusals into errors, silence into a state."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from llm_pool.core.errors import BadReply, Busy, Failed, Loading, ProviderError, Rejected, Unreachable
from llm_pool.core.messages import ProviderState
from llm_pool.providers.capabilities import entries
from llm_pool.providers.html import described, is_markup
from llm_pool.providers.json_values import parse, whole_characters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.providers.transport import Backend, Reply

T = TypeVar("T")

_STATE_TIMEOUT = 1.8
"""Seconds a backend may take to say how it is; ``Provider.state`` promises two."""

_LOADING = re.compile(
    r"\b(?:loading|warming up|(?:is|still) starting|starting up|initiali[sz]ing|not (?:yet )?ready)\b", re.IGNORECASE
)
"""
Words of a 503 that say that the model is on its way: llama-server ("Loading model"), SGLang ("The server is starting"),
text-generation-inference ("Model is not ready"), routers of them. Every other 503 is a server that has too much to do.
"""

_MAX_ERROR_LENGTH = 300
"""Characters of a backend's own words in an error."""

_WORDS = ("error", "errors", "message", "detail")  # where they stand, the best first


def decode(backend: Backend, raw: bytes, kind: type[T]) -> T:
    """
    The value in *raw*.

    Raises:
        BadReply: it is not JSON, or not of this shape.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last for a thousand brackets
        if is_markup(raw):
            raise BadReply(backend.name, backend.redacted(f"it answers with {described(raw)}")) from error
        shown = backend.redacted(raw[:60].decode("utf-8", "replace"))
        raise BadReply(backend.name, f"unreadable answer {shown!r}: {error}") from error


def error_text(backend: Backend, body: Any) -> str:
    """
    The backend's own words in an error body, on one line, without our secrets.

    Knows ``{"error": "…"}``, ``{"error": {"message": "…"}}``, ``{"errors": […]}``, ``{"message": "…"}``,
    ``{"detail": …}``, plain text, and pages, of which it tells the title.
    """
    if isinstance(body, bytes):
        try:
            body = parse(body)
        except ValueError:
            body = described(body) if is_markup(body) else body.decode("utf-8", "replace")
    while isinstance(body, dict):
        said = (body[key] for key in _WORDS if body.get(key) and body[key] is not True)
        body = next(said, _as_json(body))
    text = " ".join((body if isinstance(body, str) else _as_json(body)).split())
    return backend.redacted(whole_characters(text))[:_MAX_ERROR_LENGTH]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def listed_models(backend: Backend, reply: Reply, place: str) -> list[dict[str, Any]]:
    """
    The models in *reply*, a list as servers write it, from *place*.

    Raises:
        ProviderError: it is an error, or no such list.
    """
    if reply.status != 200:
        raise error_for(backend, reply)
    try:
        return entries(decode(backend, reply.body, object))
    except ValueError as error:
        raise BadReply(backend.name, f"{place}: {error}") from error


def error_for(backend: Backend, reply: Reply) -> ProviderError:
    """The error that a response with a status other than 200 stands for."""
    status = reply.status
    said = error_text(backend, reply.body)
    reason = f"{status}: {said}" if said else f"status {status}"
    if status in {429, 503}:
        kind = Loading if status == 503 and _LOADING.search(said) else Busy
        return kind(backend.name, reason, retry_after=retry_after(reply.headers.get("retry-after"), time.time()))
    if status >= 500:
        return Failed(backend.name, reason)
    if status in {401, 403}:
        return Rejected(backend.name, reason, hint=f"check api_key of provider {backend.name}")
    if 300 <= status < 400:
        where = backend.redacted(reply.headers.get("location", "elsewhere"))
        return Rejected(backend.name, f"{status}: it redirects to {where}", hint="set base_url to that address")
    return Rejected(backend.name, reason)


def retry_after(value: str | None, now: float) -> float | None:
    """
    Seconds to wait by a Retry-After header: a number, or a date against *now* in Unix seconds. None if unreadable.

    Source: RFC 9110, 10.2.3.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


async def probe_state(backend: Backend, model: str, probe: Callable[[], Awaitable[ProviderState]]) -> ProviderState:
    """What *probe* finds out; what it raises, or its taking too long, is a state too."""
    try:
        async with asyncio.timeout(_STATE_TIMEOUT):
            return await probe()
    except TimeoutError:
        late = f"{backend.authority} does not answer"
        return ProviderState(name=backend.name, model=model, condition="unreachable", detail=late, hint=backend.hint)
    except Unreachable as error:
        return ProviderState(
            name=backend.name, model=model, condition="unreachable", detail=error.reason, hint=backend.hint
        )
    except ProviderError as error:
        return ProviderState(name=backend.name, model=model, condition="failing", detail=error.reason, hint=error.hint)

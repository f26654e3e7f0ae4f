"""
What the headers of a request (over gRPC: its metadata) say of it beside its body.

::

    X-Request-Id ─▶ its name in answers, logs and headers        X-Deadline-Ms ─▶ how long its sender still waits
    Idempotency-Key ─▶ request_id: the same again is replayed    traceparent, tracestate ─▶ on to the backends

Sources: draft-ietf-httpapi-idempotency-key-header-07; https://www.w3.org/TR/trace-context.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Query

    Headers = Sequence[tuple[bytes, bytes]]
    """As received, names in lower case."""

REQUEST_ID_HEADER, IDEMPOTENCY_KEY = b"x-request-id", b"idempotency-key"
_ID = re.compile(r"[!-~]{1,200}")
"""An id in a header: visible ASCII, up to the length of our own request ids."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]{0,64})?")
_TRACESTATE = re.compile(r"[ -~]{1,512}")


def correlation_id(headers: Headers) -> str:
    """What the request is called: its ``X-Request-Id`` where that is one valid id, else a new one."""
    return _sent_id(headers) or os.urandom(16).hex()


def identified(query: Query, headers: Headers, correlation: str) -> Query:
    """
    *query* under the ids of its *headers*, with their trace context.

    It is correlated by what its sender calls it in ``X-Request-Id``, else by its own id, else by *correlation*, from
    ``correlation_id``. Raises InvalidRequest where ``Idempotency-Key`` is no id, or another one than the body's
    ``request_id``: it cannot be told which of the two was meant.
    """
    key = only(headers, IDEMPOTENCY_KEY)
    if key is not None and not _ID.fullmatch(key):
        raise InvalidRequest("Idempotency-Key", "expected one id of 1 to 200 visible ASCII characters")
    if key and query.request_id not in {"", key}:
        raise InvalidRequest("Idempotency-Key", "another id than the body's request_id", hint="give one of the two")
    request_id = key or query.request_id
    own = request_id if _ID.fullmatch(request_id) else ""
    name = _sent_id(headers) or own or correlation
    return msgspec.structs.replace(query, request_id=request_id, correlation_id=name, trace=_trace_context(headers))


def _sent_id(headers: Headers) -> str:
    sent = [value for name, value in headers if name == REQUEST_ID_HEADER]
    if len(sent) != 1:
        return ""
    name = sent[0].decode("latin-1")
    return name if _ID.fullmatch(name) else ""


def only(headers: Headers, name: bytes) -> str | None:
    """The value of a header that comes once at most: ``request_limits`` and gRPC's metadata are held to that."""
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise InvalidRequest(name.decode().title(), "it came twice")
    return values[0].decode("latin-1") if values else None


def _trace_context(headers: Headers) -> dict[str, str]:
    """The W3C trace context; empty where it is none, and without a state that is too long to be passed on."""
    parents = [value.decode("latin-1") for name, value in headers if name == b"traceparent"]
    if len(parents) != 1 or not _TRACEPARENT.fullmatch(parents[0]):
        return {}
    state = ",".join(value.decode("latin-1") for name, value in headers if name == b"tracestate")
    return {"traceparent": parents[0]} | ({"tracestate": state} if _TRACESTATE.fullmatch(state) else {})

"""A request's events as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.wire.json import EventEncoder, error_json

if TYPE_CHECKING:
    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Json
    from llm_pool.wire.json import StreamEvent

PING = b": ping\n\n"
"""A comment: it keeps proxies from closing a stream that is silent while models think."""
CONTENT_TYPE = b"text/event-stream; charset=utf-8"


class SseEncoder:
    """What a client is told of one request, as bytes: see ``wire.json.EventEncoder``."""

    def __init__(self) -> None:
        self._encoder = EventEncoder()

    def event(self, event: StreamEvent) -> bytes:
        """The bytes for *event*; none where clients are not told of its kind."""
        return b"".join(encode(payload["type"], payload) for payload in self._encoder.encode(event))


def error(payload: LlmPoolError) -> bytes:
    """The last event of a request that was not."""
    return encode("error", {**error_json(payload), "final": True})


def encode(kind: str, data: dict[str, Json]) -> bytes:
    """One event. JSON has no line breaks of its own, so one ``data`` line holds it."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data))


def data(value: Json) -> bytes:
    """*value* as an event without a name, as OpenAI's streams have them."""
    return b"data: %s\n\n" % msgspec.json.encode(value)

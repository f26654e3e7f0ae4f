"""A request's events as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.messages import AttemptEnded, AttemptStarted, ModelLoading, TextArrived, Waiting
from llm_pool.wire import answer_json, attempt_json, error_json

if TYPE_CHECKING:
    from llm_pool.errors import LlmPoolError
    from llm_pool.messages import Answer, Event, Json

PING = b": ping\n\n"
"""A comment: it keeps proxies from closing a stream that is silent while models think."""
CONTENT_TYPE = b"text/event-stream; charset=utf-8"


class Told:
    """
    What a client is told of one request.

    Types, in their order: ``start`` a model is asked; ``waiting``, ``loading`` why nothing comes yet; ``delta`` a
    piece of the answer, or of a candidate that may yet lose (``final`` is false); ``candidate`` a whole valid answer
    of one model, ``leading`` as long as it would win; ``attempt`` how each call ended; last ``answer`` or ``error``,
    with ``final`` true.
    """

    def __init__(self) -> None:
        self._candidates = 0

    def event(self, event: Event) -> bytes:
        """The bytes for *event*; none where clients are not told of its kind."""
        match event:
            case AttemptStarted():
                return encode("start", {"provider": event.provider, "model": event.model, "why": event.why})
            case Waiting():
                return encode("waiting", {"provider": event.provider, "group": event.group, "ahead": event.ahead})
            case ModelLoading():
                return encode("loading", {"provider": event.provider, "model": event.model})
            case TextArrived():
                return encode("delta", {"provider": event.provider, "text": event.text, "final": event.committed})
            case AttemptEnded():
                return self._attempt(event)
            case _:
                return b""

    def _attempt(self, event: AttemptEnded) -> bytes:
        attempt = event.attempt
        ended = encode("attempt", attempt_json(attempt))
        if attempt.reading is None or attempt.why == "judge":
            return ended
        self._candidates += 1
        said = {
            "provider": attempt.provider,
            "model": attempt.model,
            "content": attempt.reading.content,
            "json": attempt.reading.value,
            "leading": self._candidates == 1,
            "final": False,
        }
        return encode("candidate", said) + ended


def answer(told: Answer) -> bytes:
    """The last event of a request that was answered."""
    return encode("answer", {**answer_json(told), "final": True})


def error(told: LlmPoolError) -> bytes:
    """The last event of a request that was not."""
    return encode("error", {**error_json(told), "final": True})


def encode(kind: str, data: dict[str, Json]) -> bytes:
    """One event. JSON has no line breaks of its own, so one ``data`` line holds it."""
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), msgspec.json.encode(data))

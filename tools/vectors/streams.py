"""What a stream sent, cut into pieces, and the events that a client tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_pool.core import errors
from llm_pool.core.events import (
    AttemptEnded,
    AttemptStarted,
    ModelLoading,
    ReasoningArrived,
    RequestQueued,
    TextArrived,
    ToolCallArrived,
)
from llm_pool.core.messages import Answer, ToolCallDelta
from llm_pool.facade.answer_text import AnswerText
from llm_pool.server import sse
from llm_pool.wire.json import EventEncoder
from tools.vectors import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json
    from llm_pool.wire.json import StreamEvent

EVERY_KIND: list[StreamEvent] = [
    AttemptStarted("r1", "phi3", "phi3:mini", "vote", 0.0),
    RequestQueued("r1", "phi3", "http://127.0.0.1:11434", 2),
    ModelLoading("r1", "phi3", "phi3:mini"),
    ReasoningArrived("r1", "phi3", "17 has no divisor."),
    ToolCallArrived("r1", "phi3", ToolCallDelta(0, "call_1", "get_weather", '{"city":'), committed=True),
    ToolCallArrived("r1", "phi3", ToolCallDelta(0, arguments='"Rome"}'), committed=True),
    TextArrived("r1", "gemma2", "No"),
    TextArrived("r1", "phi3", " Yes.\u2028", committed=True),
    TextArrived("r1", "phi3", "It is \U0001f642", committed=True),
    AttemptEnded("r1", "ask", samples.WON),
    AttemptEnded("r1", "ask", samples.LOST),
    samples.ANSWER,
]
SHORT: list[StreamEvent] = [AttemptStarted("r1", "phi3", "phi3:mini", "primary", 0.0), samples.ANSWER]
BEGUN = TextArrived("r1", "phi3", samples.READING.content, committed=True)
STOPPED = errors.Stopping(2.0)


def vectors() -> list[Json]:
    """
    One for each way a stream may go.

    *text* has the pieces of the answer's own text. *cuts* are numbers of bytes at which *sent* was cut, *piece* the
    size of all pieces instead; *end* is ``answer``, or the code of the error.
    """
    whole, short = _sent(EVERY_KIND), _sent(SHORT)
    begin = _sent([BEGUN])
    unknown = 'event: weather\ndata: {"type":"weather","v":1,"sky":"blue"}\n\n'
    after = whole.encode().index("\U0001f642".encode()) + 2
    return [
        _vector("every kind of event", whole, EVERY_KIND),
        _vector("cut within a character", whole, EVERY_KIND, cuts=[after]),
        _vector("cut at every byte", short, SHORT, piece=1),
        _vector("lines that end as Windows ends them", short.replace("\n", "\r\n"), SHORT),
        _vector("cut within an end of line", short.replace("\n", "\r\n"), SHORT, cuts=[13, 14]),
        _vector("lines that end with carriage returns", short.replace("\n", "\r"), SHORT),
        _vector("comments between events", f": ping\n\n{begin}: ping\n\n{short}", [BEGUN, *SHORT]),
        _vector("no blank after the colon", short.replace(": ", ":", 2), SHORT),
        _vector("fields that nobody knows", "retry: 10\nid: 7\nnew\n" + short, SHORT),
        _vector("an event of a later version", unknown + short, SHORT),
        _vector("data on two lines", short.replace('","v":1', '",\ndata: "v":1', 1), SHORT),
        _vector("an error at once", sse.error(STOPPED).decode(), [], end="stopping"),
        _vector("an error in the middle", begin + sse.error(STOPPED).decode(), [BEGUN], end="stopping"),
        _vector("nothing", "", [], end="unreachable"),
        _vector("cut off between events", begin, [BEGUN], end="unreachable"),
        _vector("cut off in an answer", begin + short[:-200], [BEGUN, SHORT[0]], end="unreachable"),
        _vector("the empty line at its end is missing", short[:-1], SHORT[:1], end="unreachable"),
        _vector("events of another", 'event: answer\ndata: {"x":1}\n\n', [], end="unreachable"),
        _vector("data that is no JSON", "event: delta\ndata: nope\n\n", [], end="unreachable"),
    ]


def _sent(events: list[StreamEvent]) -> str:
    encoder = sse.SseEncoder()
    return b"".join(map(encoder.event, events)).decode()


def _vector(
    name: str, sent: str, events: list[StreamEvent], *, cuts: Sequence[int] = (), piece: int = 0, end: str = "answer"
) -> Any:
    encoder = EventEncoder()
    told = [payload for event in events for payload in encoder.encode(event)]
    return {
        "name": name,
        "sent": sent,
        "cuts": list(cuts),
        "piece": piece,
        "events": told,
        "text": _text(events),
        "end": end,
    }


def _text(events: list[StreamEvent]) -> list[str]:
    """The pieces of the answer's own text, as a program is told them."""
    text = AnswerText()
    pieces = [text.rest_of(event) if isinstance(event, Answer) else text.piece(event) for event in events]
    return [piece for piece in pieces if piece]

"""
The events of a streamed answer, as structs: the OpenAPI document is made from them.

``wire.json.EventEncoder`` writes these shapes; a test holds what it writes against what is documented.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from llm_pool.server.bodies import AnswerBody, AttemptBody
from llm_pool.server.conversation import ToolCallBody  # noqa: TC001  msgspec reads it


def _doc(description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description)


_Version = Annotated[int, _doc("Version of the events' format.")]
_Final = Annotated[bool, _doc("Whether it is the answer's own; else a candidate's, that may yet lose.")]


class StartEvent(msgspec.Struct, frozen=True, tag_field="type", tag="start"):
    """A model is asked."""

    v: _Version
    provider: str
    model: str
    why: Annotated[str, _doc("What started it: primary, hedge, failover, vote, judge, last_resort.")]
    after_ms: Annotated[float, msgspec.Meta(ge=0, description="Since the request began.")]


class WaitingEvent(msgspec.Struct, frozen=True, tag_field="type", tag="waiting"):
    """The request queues for a slot on a machine."""

    v: _Version
    provider: str
    group: str
    ahead: Annotated[int, _doc("Requests before it.")]


class LoadingEvent(msgspec.Struct, frozen=True, tag_field="type", tag="loading"):
    """The request waits for a model to be loaded."""

    v: _Version
    provider: str
    model: str


class ReasoningEvent(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """A piece of what a model thinks; never a part of the answer."""

    v: _Version
    provider: str
    text: str


class DeltaEvent(msgspec.Struct, frozen=True, tag_field="type", tag="delta"):
    """A piece of text."""

    v: _Version
    provider: str
    text: str
    final: _Final


class ToolCallEvent(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call"):
    """A piece of a call of a tool; *id* and *name* come with the first piece of each."""

    v: _Version
    provider: str
    index: Annotated[int, _doc("Which of the answer's calls.")]
    id: str
    name: str
    arguments: Annotated[str, _doc("To be added to the text of its arguments.")]
    final: _Final


class CandidateEvent(msgspec.Struct, frozen=True, tag_field="type", tag="candidate"):
    """A whole valid answer of one model."""

    v: _Version
    provider: str
    model: str
    content: str
    json: Any
    tool_calls: list[ToolCallBody]
    leading: Annotated[bool, _doc("Whether it would win, as things stand.")]
    final: Literal[False]


class AttemptEvent(AttemptBody, frozen=True, kw_only=True, tag_field="type", tag="attempt"):
    """A call to a model is over."""

    v: _Version


class AnswerEvent(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="answer"):
    """The answer; the last event."""

    v: _Version
    final: Literal[True]


StreamEvent: TypeAlias = (
    StartEvent
    | WaitingEvent
    | LoadingEvent
    | ReasoningEvent
    | DeltaEvent
    | ToolCallEvent
    | CandidateEvent
    | AttemptEvent
    | AnswerEvent
)
"""What the data of an event holds; of one named ``error`` it is an ErrorBody."""

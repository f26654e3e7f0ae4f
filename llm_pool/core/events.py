"""
The events: what others may want to know of a request or of the pool.

They leave sideways, through ``emit`` and the observers. Times are seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Attempt, Query, ToolCallDelta


class AttemptStarted(msgspec.Struct, frozen=True):
    """A call to a provider begins; *after* seconds since the request began, *why* as in Attempt."""

    request_id: str
    provider: str
    model: str
    why: str
    after: float


class TextArrived(msgspec.Struct, frozen=True):
    """A provider wrote *text*. *committed* says that this stream is the answer's own."""

    request_id: str
    provider: str
    text: str
    committed: bool = False


class ToolCallArrived(msgspec.Struct, frozen=True):
    """A provider wrote *piece* of a call. *committed* says that this stream is the answer's own."""

    request_id: str
    provider: str
    piece: ToolCallDelta
    committed: bool = False


class ReasoningArrived(msgspec.Struct, frozen=True):
    """A provider thought *text*: a sign of life, and never a part of the answer."""

    request_id: str
    provider: str
    text: str


class AttemptEnded(msgspec.Struct, frozen=True):
    """A call to a provider is over; *tenant_id* is who asked."""

    request_id: str
    task: str
    attempt: Attempt
    tenant_id: str = ""


class ModelLoading(msgspec.Struct, frozen=True):
    """The request waits for *model* to be loaded, which usually takes *usual* seconds; None: nobody knows."""

    request_id: str
    provider: str
    model: str
    usual: float | None = None


class RequestQueued(msgspec.Struct, frozen=True):
    """The request queues for a slot in *group*, with *ahead* requests before it."""

    request_id: str
    provider: str
    group: str
    ahead: int


class BreakerChanged(msgspec.Struct, frozen=True):
    """A breaker moved: closed, half-open, open; *rest*: seconds that an open one refuses."""

    provider: str
    task: str
    before: str
    after: str
    rest: float = 0.0


class RequestAnswered(msgspec.Struct, frozen=True):
    """A request got its answer."""

    query: Query
    answer: Answer


class RequestFailed(msgspec.Struct, frozen=True):
    """A request ended in *error* after *duration* seconds."""

    query: Query
    error: LlmPoolError
    duration: float


class Reloaded(msgspec.Struct, frozen=True):
    """
    The configuration was read again.

    Attributes:
        generation: the one that serves now.
        error: why the new configuration was not taken; None: it was.
    """

    generation: int
    error: LlmPoolError | None = None


class AccessDenied(msgspec.Struct, frozen=True):
    """
    A request failed authentication or authorization.

    Attributes:
        reason: one of a few words, for operators and never for the sender.
    """

    reason: str


class KeyUsed(msgspec.Struct, frozen=True):
    """A request came with *key*, signed with the secret in *slot* ``a`` or ``b``: an idle one may be retired."""

    key: str
    slot: str


Event: TypeAlias = (
    AttemptStarted
    | TextArrived
    | ToolCallArrived
    | ReasoningArrived
    | AttemptEnded
    | ModelLoading
    | RequestQueued
    | BreakerChanged
    | RequestAnswered
    | RequestFailed
    | Reloaded
    | AccessDenied
    | KeyUsed
)

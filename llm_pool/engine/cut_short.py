"""
What is answered where tokens or time end before an answer is whole: what there is, and that it is cut.

Rules:
- Text that was streamed to the asker is his: where the deadline comes, or the model pauses for too long, it ends there.
- JSON that its length cut off is told to an asker who takes it, if nobody gave a valid answer. It is never repaired
  into a value, and is no vote.

Such an answer is degraded and its *finish* is ``length``, so nobody keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import OutOfTime, TimedOut
from llm_pool.core.messages import Decision, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Attempt, Call, StrategyName


def cut_short(
    call: Call, attempts: Sequence[Attempt], strategy: StrategyName, *, committed_to: str = ""
) -> Decision | None:
    """
    The decision for the first of *attempts* that may be told though it is not whole; None where none may be.

    Args:
        call: the question.
        attempts: none of them valid.
        strategy: that asked them.
        committed_to: the provider whose text the asker has read; empty: none was streamed.
    """
    found = next((attempt for attempt in attempts if attempt.cut and _may_be_told(call, attempt, committed_to)), None)
    if found is None:
        return None
    reason = (
        f"the deadline came before it was whole: {found.error or 'it was being written'}"
        if call.schema is None
        else f"its length cut it off: {found.error}"
    )
    reading, kind = Reading(found.cut, None), found.error_kind or OutOfTime.kind
    told = msgspec.structs.replace(
        found, outcome="ok", finish="length", reading=reading, cut="", note=reason, error_kind=kind
    )
    return Decision(
        asked=strategy,
        used=strategy,
        winner=found.provider,
        model=found.model,
        reading=reading,
        reason=reason,
        attempts=tuple(told if attempt is found else attempt for attempt in attempts),
        degraded=True,
        degraded_reason=reason,
    )


def _may_be_told(call: Call, attempt: Attempt, committed_to: str) -> bool:
    if call.schema is not None:
        return call.takes_cut and attempt.outcome == "invalid"
    out_of_time = attempt.outcome == "cancelled" or attempt.error_kind in {TimedOut.kind, OutOfTime.kind}
    return attempt.provider == committed_to and out_of_time

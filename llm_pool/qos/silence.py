"""
How long a call has said nothing, and when that is too long.

Rule: a call is *late* when nothing has come for the asker's patience. Before the first token that is the patience
alone. Afterwards it is at least ``MIN_GAP``, and ``GAP_FACTOR`` times the longest silence the call has shown so far: a
model that takes two seconds a token is slow, one that wrote ten a second and then nothing is stuck. And it is no more
than half of the time that was left when it was last heard, so that another may still answer in the other half; a call
that keeps its pace (``PACE_FACTOR``) is not late for being near its end. An answer that flows (``Call.idle``) has
always as much time left as it may pause.

Source: Hayashibara et al., The phi accrual failure detector, SRDS 2004 (a silence is judged by the silences before it,
and a suspicion is taken back at the next sign of life).
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

GAP_FACTOR = 3.0
"""As many times the longest silence so far make a silence unusual, once a call has written."""
PACE_FACTOR = 1.5
"""As many times the longest silence so far are no change of pace."""
MIN_GAP = 0.5
"""Seconds between two tokens that no model is blamed for: some take as long on a processor."""
MIN_INTERVAL = 0.01
"""Seconds between two looks at a silence that is excused."""


def never() -> bool:
    """No silence is excused."""
    return False


class Silent(Protocol):
    """What a Watch looks at."""

    @property
    def heard_at(self) -> float:
        """The instant of the latest sign of life."""

    def late_at(self, patience: float) -> float:
        """The instant at which it is late if nothing more comes; infinite where it never is."""


class Silence:
    """
    What one call has been heard to say, and when; instants come in.

    Args:
        began: instant at which it was sent.
        deadline: instant at which it ends in any case.
        idle: seconds that it may pause once it has begun, which then takes the deadline's place; None: it does not.
    """

    __slots__ = ("_deadline", "_idle", "_longest", "heard_at")

    def __init__(self, began: float, deadline: float, idle: float | None = None) -> None:
        self.heard_at, self._deadline, self._idle, self._longest = began, deadline, idle, 0.0

    @property
    def flows(self) -> bool:
        """Whether it has begun, and may go on for as long as it does not pause."""
        return self._idle is not None and self._longest > 0

    def hear(self, now: float) -> None:
        """Note a sign of life."""
        if (silent := now - self.heard_at) > self._longest:
            self._longest = silent
        self.heard_at = now
        if self._idle is not None:
            self._deadline = now + self._idle

    def late_at(self, patience: float) -> float:
        """
        The instant at which the call is late if nothing more comes, for an asker with *patience* (seconds).

        Infinite patience makes it never late.
        """
        if math.isinf(patience):
            return math.inf
        longest = max(patience, MIN_GAP, GAP_FACTOR * self._longest) if self._longest else patience
        half = max(0.0, self._deadline - self.heard_at) / 2
        return self.heard_at + min(longest, max(half, PACE_FACTOR * self._longest))


class QueuedSilence:
    """
    The silence of a call that waits for a slot: as long as every call that holds one is silent, so is it.

    Args:
        own: from the instant at which it began to wait.
        ahead: gives the silences of the calls that hold the slots; none of them: the wait has another reason.
    """

    __slots__ = ("_ahead", "_own")

    def __init__(self, own: Silence, ahead: Callable[[], Sequence[Silence]]) -> None:
        self._own, self._ahead = own, ahead

    @property
    def heard_at(self) -> float:
        """The latest word of a call ahead since this one waits."""
        return max([self._own.heard_at, *(silence.heard_at for silence in self._ahead())])

    def late_at(self, patience: float) -> float:
        """The instant at which the last of those ahead is late too."""
        late = [silence.late_at(patience) for silence in self._ahead()]
        return max(self._own.late_at(patience), *late) if late else math.inf


class Watch:
    """
    Tells once, as soon as a call is late, while the block runs.

    A sign of life costs nothing here: the timer looks whether there was one, and waits on.

    Args:
        silent: the call.
        patience: seconds; asked when there is a reason to, as looking it up takes longer than most calls.
        tell: gets the seconds without a word.
        soonest: seconds that *patience* is never less than.
        excused: whether silence means nothing now, as while a model is loaded; it is asked again later.
    """

    __slots__ = ("_excused", "_loop", "_patience", "_silent", "_soonest", "_tell", "_timer")

    def __init__(
        self,
        silent: Silent,
        patience: Callable[[], float],
        tell: Callable[[float], None],
        *,
        soonest: float,
        excused: Callable[[], bool] = never,
    ) -> None:
        self._silent, self._patience, self._tell = silent, patience, tell
        self._soonest, self._excused = soonest, excused

    def __enter__(self) -> None:
        self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self) -> None:
        """Begin to watch."""
        self._loop = asyncio.get_running_loop()
        late_at = self._silent.late_at(self._soonest)
        if math.isinf(late_at):
            late_at = self._loop.time() + self._soonest
        self._timer = self._loop.call_at(late_at, self._look)

    def end(self) -> None:
        """Tell nothing any more."""
        self._timer.cancel()

    def _look(self) -> None:
        now, patience = self._loop.time(), self._patience()
        late_at = self._silent.late_at(patience)
        if math.isinf(late_at) or (now >= late_at and self._excused()):
            self._timer = self._loop.call_at(now + max(patience, MIN_INTERVAL), self._look)
        elif now < late_at:
            self._timer = self._loop.call_at(late_at, self._look)
        else:
            self._tell(now - self._silent.heard_at)

"""
How many calls a model takes at once, learned from what was seen to run side by side. A pure rule, ``now`` comes in.

For machines that do not say it, as Ollama: ``OLLAMA_NUM_PARALLEL`` is known to its own process alone, and some families
of models are served one call at a time whatever it says.

::

    n calls write, and one more waits ──▶ a trial: that one is sent beside them
        its first word comes, and all n go on writing ──▶ n + 1 at least; the next trial may begin at once
        one of them ends before that is seen          ──▶ n, as before; the next trial comes after a pause

A call too many waits in the machine's queue instead of in ours, and first in it: it loses nothing. Its time says
nothing of its backend, so it is held against nobody. What was seen counts for as long as the model stays in memory: the
number is set when a model is loaded.

Sources: Ollama, server/sched.go, ``load`` (how many), and llm/llama_server.go, ``sem`` (the others wait, first come
first served); Netflix, concurrency-limits (probing for more).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAX_SLOTS: Final = 32
"""Calls at once beyond which nobody looks for more: Ollama keeps a context for each in memory."""
MIN_OVERLAP: Final = 0.05
"""Seconds that streams run on side by side for it to be seen: words of one that has ended may arrive late."""
FIRST_PAUSE: Final = 5.0
MAX_PAUSE: Final = 640.0
"""Seconds after a trial that showed nothing; they double each time."""

C = TypeVar("C")


class SlotTrial(Generic[C]):
    """
    One call more than the model was seen to take.

    Args:
        newcomer: the one more.
        rivals: those that run, at least one, each of which has written.
    """

    def __init__(self, newcomer: C, rivals: Iterable[C]) -> None:
        self.newcomer, self.rivals = newcomer, frozenset(rivals)
        self._unheard = set(self.rivals)
        self._spoke_at: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the newcomer has not written yet."""
        return self._spoke_at is None

    @property
    def slots(self) -> int:
        """How many run at once if the trial succeeds."""
        return len(self.rivals) + 1

    def involves(self, call: C) -> bool:
        """Whether the end of *call* is the trial's end."""
        return call is self.newcomer or call in self.rivals

    def hear(self, call: C, now: float) -> bool:
        """Note a word of *call*; whether all were seen to run side by side."""
        if call is self.newcomer:
            self._spoke_at = now if self._spoke_at is None else self._spoke_at
        elif self._spoke_at is not None and now - self._spoke_at >= MIN_OVERLAP:
            self._unheard.discard(call)
        return not self._unheard


class SlotsSeen:
    """What was seen of the models of one machine."""

    def __init__(self) -> None:
        self._slots: dict[str, int] = {}
        self._pauses: dict[str, tuple[float, float]] = {}

    @property
    def slots(self) -> dict[str, int]:
        """Calls at once, by model, at least 2; one that is missing was not seen to take more than one."""
        return dict(self._slots)

    def may_try(self, model: str, running: int, now: float) -> bool:
        """Whether to send a call to *model* beside the *running* ones."""
        _, until = self._pauses.get(model, (0.0, now))
        return 0 < running < MAX_SLOTS and now >= until

    def side_by_side(self, model: str, slots: int) -> None:
        """Note that *slots* calls to *model* ran at once."""
        self._slots[model] = max(slots, self._slots.get(model, 1))
        self._pauses.pop(model, None)

    def not_seen(self, model: str, now: float) -> None:
        """Note that a trial of *model* showed nothing."""
        before, _ = self._pauses.get(model, (0.0, now))
        pause = min(max(FIRST_PAUSE, 2 * before), MAX_PAUSE)
        self._pauses[model] = pause, now + pause

    def keep(self, models: Collection[str]) -> bool:
        """Forget what was seen of other models; whether that changes any slots."""
        if not self._slots and not self._pauses:
            return False
        gone = [model for model in self._slots if model not in models]
        for model in {*gone, *(model for model in self._pauses if model not in models)}:
            self._slots.pop(model, None)
            self._pauses.pop(model, None)
        return bool(gone)

"""
Who has been silent lately: a pure rule, ``now`` comes in.

A breaker judges a backend for everybody, so it asks for proof: an impatient asker must not take a backend from the
others. Until the proof is there, every asker would wait for a dead backend first. A suspicion asks for little, and
takes little: the suspect is asked after the others. One good answer ends it.

::

                     three in a row held against it                    hold over
      ┌───────────┐ ──────────────────────────────▶ ┌─────────┐ ───────────────────▶ ┌──────────┐
      │ unsuspect │                                 │ suspect │                      │ on trial │
      └───────────┘ ◀── a good answer, at any time ─└─────────┘ ◀── the next call ── └──────────┘

Rules:

- Held against a provider: a call that was late (``silence``), with the seconds of silence; a call that was given all
  its time and was not done, with the seconds it was given. Errors hold nothing against it: they are for the breaker.
- A silence speaks only to those who would have waited no longer (``ALIKE``): for an asker with more patience it proves
  nothing, nor does a span that was too short for an asker with a longer one. So of each kind the three longest count,
  not the latest.
- Three of a kind since the last good answer make it *suspect*, for ``FIRST_HOLD`` seconds, and twice as long each
  further time in a row, at most ``MAX_HOLD``.
- When the hold is over the provider is *on trial*: the next call to it is, by the fact that it begins, the only one, as
  it starts the next hold. Its good answer ends the suspicion.

Sources: Envoy outlier detection (ejected for a time that grows with each time in a row); Hayashibara et al., The phi
accrual failure detector, SRDS 2004 (suspecting is cheap and is taken back; what follows is for each asker to decide).
"""

from __future__ import annotations

ENOUGH = 3
"""Calls in a row that make a suspect."""
FIRST_HOLD = 5.0
MAX_HOLD = 60.0
ALIKE = 0.8
"""Two askers are alike if the one has at least so much of the other's patience: deadlines jitter on their way."""


class Suspicion:
    """
    What is held against one provider, for one task.

    Attributes:
        has_answered: a good answer was seen, however long ago.
    """

    def __init__(self) -> None:
        self._silences: list[float] = []
        self._missed: list[float] = []
        self._hold = 0.0
        self._held_since = 0.0
        self.has_answered = False

    @property
    def is_held(self) -> bool:
        """Whether some asker may have a suspect in it."""
        return self._hold > 0

    @property
    def is_clear(self) -> bool:
        """Nothing is held against it since its last good answer."""
        return not self._silences and not self._missed

    def is_suspect(self, now: float, *, patience: float, span: float) -> bool:
        """
        Whether to ask others first.

        Args:
            now: instant.
            patience: seconds that this asker waits for a sign of life.
            span: seconds that this asker has for the whole answer.
        """
        if not self._speaks_against(patience, span):
            return False
        return 0 <= now - self._held_since < self._hold

    def begin(self, now: float) -> None:
        """Note that a call begins: where the hold is over, it is the trial, and the next hold begins."""
        if self._hold and now - self._held_since >= self._hold:
            self._hold = min(2 * self._hold, MAX_HOLD)
            self._held_since = now

    def late(self, silence: float, now: float) -> None:
        """Hold against it that a call has said nothing for *silence* seconds."""
        self._note(self._silences, silence, now)

    def missed(self, span: float, now: float) -> None:
        """Hold against it that a call was not done in the *span* seconds it was given."""
        self._note(self._missed, span, now)

    def good(self) -> None:
        """Note a good answer: nothing is held against it any more."""
        self._silences.clear()
        self._missed.clear()
        self._hold = 0.0
        self.has_answered = True

    def _note(self, longest: list[float], seconds: float, now: float) -> None:
        longest.append(seconds)
        longest.sort(reverse=True)
        del longest[ENOUGH:]
        if not self._hold and len(longest) == ENOUGH:
            self._hold, self._held_since = FIRST_HOLD, now

    def _speaks_against(self, patience: float, span: float) -> bool:
        silent = len(self._silences) == ENOUGH and self._silences[-1] >= ALIKE * patience
        return silent or (len(self._missed) == ENOUGH and self._missed[-1] >= ALIKE * span)

    def __repr__(self) -> str:
        return f"<Suspicion [{len(self._silences)} silent, {len(self._missed)} not done, held for {self._hold:g} s]>"

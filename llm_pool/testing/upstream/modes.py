"""What goes wrong, and when: a mode per request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from random import Random

DESCRIPTIONS = {
    "ok": (0.0, "answers"),
    "error": (500.0, "error:STATUS answers with that status"),
    "flaky": (0.5, "flaky:P answers with 500 for a share P of the requests"),
    "busy": (1.0, "busy:S answers 503 with Retry-After: S"),
    "loading": (5.0, "loading:S the model is being loaded for S more seconds, from now"),
    "slow": (5.0, "slow:K everything takes K times as long"),
    "trickle": (1.0, "trickle:R only R tokens a second, each line in two halves"),
    "hang": (0.0, "takes the request and says nothing"),
    "stall": (3.0, "stall:N goes silent after N pieces"),
    "cut": (3.0, "cut:N closes the connection after N pieces and half a line"),
    "reset": (0.0, "reset:N resets the connection after N pieces"),
    "error-in-stream": (3.0, "error-in-stream:N an error line after N pieces, under status 200"),
    "garbage": (0.0, "status 200 and a body that is not what it says"),
    "nonsense": (0.0, "a well-formed answer that fits no schema"),
}
"""For each name: what its number is when none is given, and what it means."""


class Mode(msgspec.Struct, frozen=True):
    """How one request is treated; *value* is the number after the colon, *since* the instant it was set."""

    name: str
    value: float = 0.0
    since: float = 0.0

    def __str__(self) -> str:
        return f"{self.name}:{self.value:g}" if self.value else self.name


OK = Mode("ok")


def parse(spec: str) -> Mode:
    """
    The mode that *spec* names, as ``name`` or ``name:number``.

    Raises:
        ValueError: not one of DESCRIPTIONS.
    """
    name, _, number = spec.partition(":")
    if name not in DESCRIPTIONS:
        raise ValueError(f"mode: expected {', '.join(DESCRIPTIONS)}, got {spec!r}")
    try:
        return Mode(name, float(number) if number else DESCRIPTIONS[name][0])
    except ValueError as error:
        raise ValueError(f"mode: expected a number after {name!r}, got {spec!r}") from error


class Modes:
    """
    Which mode is next, for each model.

    Several modes given for a model are played one request each, and the last one stands. ``*`` speaks for every
    model that has none of its own. A path (``/api/tags``) may have modes too, for the requests that name no model.
    """

    def __init__(self) -> None:
        self._of: dict[str, list[Mode]] = {}

    def set(self, model: str, *modes: Mode, now: float) -> None:
        """From *now* on, *modes* for *model*; for ``*``, also where a model had modes of its own."""
        if model == "*":
            self._of = {name: queue for name, queue in self._of.items() if name.startswith("/")}
        self._of[model] = [msgspec.structs.replace(mode, since=now) for mode in modes] or [OK]

    def next(self, model: str, rng: Random) -> Mode:
        """The mode of the request that has just come; a flaky one is already decided."""
        mine = self._queue(model)
        mode = mine.pop(0) if len(mine) > 1 else mine[0]
        if mode.name == "flaky":
            return Mode("error", 500.0) if rng.random() < mode.value else OK
        return mode

    def current(self, model: str) -> Mode:
        """The mode that the next request would get, left in place."""
        return self._queue(model)[0]

    def _queue(self, model: str) -> list[Mode]:
        everyone = [OK] if model.startswith("/") else self._of.get("*", [OK])
        return self._of.get(model, everyone)

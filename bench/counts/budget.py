"""What a request may make the daemon do, and how a measurement is held against it."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.counts.counting import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = Path(__file__).with_name("budget.json")
RENEW = "python -m bench.counts --write"


class Tolerance(NamedTuple):
    """Shares of a budget by which a count may be above and below it."""

    above: float
    below: float


TOLERANCES = Counts(
    tasks=Tolerance(0, 0.1),
    timers=Tolerance(0, 0.1),
    writes=Tolerance(0, 0.1),
    calls=Tolerance(0.01, 0.1),
    blocks=Tolerance(0.2, 0.3),  # which block is free again by when is chance
)
SLACK = Counts(tasks=0.25, timers=0.25, writes=0.25, calls=3, blocks=4)
"""What never counts as a difference."""


def complaints(found: Mapping[str, Counts], budget: Mapping[str, Counts]) -> list[str]:
    """A sentence for each count that is above its budget, or so far below that the budget says nothing any more."""
    said = []
    for name in sorted({*found, *budget}):
        if name not in found or name not in budget:
            said.append(f"{name}: {'not counted' if name in budget else 'has no budget'}; {RENEW}")
            continue
        rows = zip(Counts._fields, found[name], budget[name], TOLERANCES, SLACK, strict=True)
        for what, count, may, tolerance, slack in rows:
            if count > may * (1 + tolerance.above) + slack:
                said.append(f"{name}: {count:g} {what}, {count - may:g} more than its {may:g}")
            elif count < may * (1 - tolerance.below) - slack:
                said.append(f"{name}: {count:g} {what}, only {count / may:.0%} of its {may:g}: good; {RENEW}")
    return said


def load(path: Path = FILE) -> tuple[str, dict[str, Counts]]:
    """The Python that the budget was made with, as ``3.11``, and each request's counts."""
    kept = json.loads(path.read_text("utf-8"))
    return kept["python"], {name: Counts(**counts) for name, counts in kept["requests"].items()}


def keep(found: Mapping[str, Counts], path: Path = FILE) -> None:
    """Make *found* the budget."""
    requests = {name: counts._asdict() for name, counts in found.items()}
    path.write_text(json.dumps({"python": version(), "requests": requests}, indent=1) + "\n", encoding="utf-8")


def version() -> str:
    """The Python that runs: another one makes other calls of the same program."""
    return ".".join(platform.python_version_tuple()[:2])

"""The draws as Markdown."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.eval.draws import Draw, Held

MARGIN = 0.01
ENOUGH = 0.9
HEADING = "Draws in which a 95 percent interval over all tasks holds the figure of the other questions, and of all:"


def report(draws: Sequence[Draw], labels: int) -> str:
    """What was recommended, what it cost in hindsight, and how often intervals hold."""
    lines = [
        f"{len(draws)} draws of {labels} labelled questions of all tasks together; points, on the other questions.",
        "",
        "| task | recommended | worse than the best in hindsight, mean | most | within 1.0 |",
        "|---|---|---:|---:|---:|",
    ]
    for task, regrets in sorted(_regrets(draws).items()):
        named = Counter(one.recommended for draw in draws for one in draw.tasks if one.task == task)
        names = ", ".join(f"{name} {count}" for name, count in named.most_common())
        within = sum(regret <= MARGIN + 1e-9 for regret in regrets)
        lines.append(
            f"| {task} | {names} | {100 * statistics.fmean(regrets):.2f} | {100 * max(regrets):.2f} "
            f"| {within} of {len(regrets)} |"
        )
    lines += [
        "",
        HEADING,
        "",
        "| figure | others | all |",
        "|---|---:|---:|",
    ]
    for figure, held in _intervals(draws).items():
        others, everything = _holds(held)
        lines.append(f"| {figure} | {others} of {len(held)} | {everything} of {len(held)} |")
    return "\n".join(lines)


def is_kept(draws: Sequence[Draw]) -> bool:
    """Whether recommendations and intervals are as good as promised."""
    good = all(statistics.fmean(regrets) <= MARGIN for regrets in _regrets(draws).values())
    return good and all(_holds(held)[1] >= ENOUGH * len(held) for held in _intervals(draws).values())


def _regrets(draws: Sequence[Draw]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for draw in draws:
        for one in draw.tasks:
            found[one.task].append(one.regret)
    return found


def _intervals(draws: Sequence[Draw]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = defaultdict(list)
    for draw in draws:
        for held in draw.held:
            found[held.figure].append(held)
    return found


def _holds(held: Sequence[Held]) -> tuple[int, int]:
    others = sum(one.interval.low <= one.others <= one.interval.high for one in held)
    everything = sum(one.interval.low <= one.everything <= one.interval.high for one in held)
    return others, everything

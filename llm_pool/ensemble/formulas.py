"""
Computer algebra where plain rules find no majority: ``(x+1)^2`` and ``x^2+2x+1`` are one answer.

It runs in a process of its own, one at a time, which is killed when its time is up or the request ends. It needs the
extra ``math``; without it, or while it is busy, formulas are compared by their spelling alone.
"""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool.ensemble.attempts import DECISION_MARGIN
from llm_pool.ensemble.ballots import ballot_groups

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.agreement.keys import Key, Shape
    from llm_pool.core.interfaces import Clock
    from llm_pool.core.messages import Call
    from llm_pool.ensemble.ballots import Ballot

IS_INSTALLED: Final = find_spec("math_verify") is not None
PATIENCE: Final = 5.0
"""Seconds at most; two go into starting it, and what it can compare at all takes a tenth of one."""
LEAST: Final = 1.0
"""Seconds that have to be left for it to be worth starting."""
LONGEST: Final = 200
"""Characters of a formula."""
_VARIABLE: Final = re.compile(r"[A-Za-z]")


class Formulas:
    """
    Which formulas are equal.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._is_busy = clock, False

    async def equal(self, call: Call, ballots: Sequence[Ballot]) -> Mapping[Key, Key]:
        """For the key of a formula that equals an earlier one, one of that shape; empty where it decides nothing."""
        formulas = undecided(call, ballots)
        time = min(PATIENCE, call.deadline - DECISION_MARGIN - self._clock.now())
        if len(formulas) < 2 or time < LEAST or self._is_busy or not IS_INSTALLED:
            return {}
        self._is_busy = True
        try:
            groups = await _partition([str(shape[1]) for shape in formulas], time)
        finally:
            self._is_busy = False
        first = {formulas[other]: formulas[group[0]] for group in groups for other in group}
        return {b.key: replace(b.key, shape=first[b.key.shape]) for b in ballots if b.key.shape in first}


def undecided(call: Call, ballots: Sequence[Ballot]) -> list[Shape]:
    """The shapes of formulas and numbers among *ballots*, if no answer has more than half, and a formula is open."""
    found = ballot_groups(call.task, ballots) if call.task.kind == "value" and ballots else []
    if not found or 2 * found[0].count > sum(group.count for group in found):
        return []
    shapes = list(dict.fromkeys(ballot.key.shape for ballot in ballots))
    open_ones = [s for s in shapes if s[0] == "math" and len(str(s[1])) <= LONGEST and _VARIABLE.search(str(s[1]))]
    return [s for s in shapes if s in open_ones or (open_ones and s[0] == "number" and len(str(s[1])) <= LONGEST)]


async def _partition(formulas: Sequence[str], time: float) -> list[list[int]]:
    """Indices of *formulas* by equality, as far as the process could tell within *time* seconds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "llm_pool.agreement.symbolic"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(time):
            told, _ = await process.communicate(msgspec.json.encode(formulas))
        return msgspec.json.decode(told, type=list[list[int]])
    except (TimeoutError, msgspec.DecodeError):
        return []
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

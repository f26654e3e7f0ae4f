"""
Who may answer: the seats of the pool, and the panel a task gets from them.

Rules:
- A provider with ``tasks`` serves only those; one without serves every task.
- A plain question (``ask``) goes to the providers that name it or, if none does, to all that are no last resort.
- A provider whose breaker is open is left out while another can be asked; the last one able is never dark.
- The order is the file's. A last resort sits apart: it is asked when nobody else can answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_pool.messages import Call, Member, StrategyName

ASK = "ask"
"""The task of a question that names no task."""


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """
    A member with what the configuration says of its duties.

    Attributes:
        tasks: names of the tasks it serves; empty: all.
        last_resort: it is asked only when no other provider can answer.
    """

    member: Member
    tasks: tuple[str, ...] = ()
    last_resort: bool = False


class Panel(msgspec.Struct, frozen=True):
    """
    Members for one task.

    Attributes:
        regular: in order of preference.
        last_resort: asked when no regular one can answer.
        skipped: names of providers left out because their breaker is open.
        is_forced: every regular member's breaker is open, and they are asked all the same.
    """

    regular: tuple[Member, ...]
    last_resort: tuple[Member, ...]
    skipped: tuple[str, ...] = ()
    is_forced: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What is done for a query: the call, the strategy and the panel."""

    call: Call
    strategy: StrategyName
    panel: Panel


def panel_for(
    task: str,
    seats: Sequence[Seat],
    *,
    is_loaded: Callable[[Member], bool],
    is_dark: Callable[[Member], bool],
    only: Sequence[str] = (),
    named: Sequence[str] = (),
    most: int | None = None,
) -> Panel:
    """
    The panel of *task*.

    Args:
        task: a task's name.
        seats: all seats, in the file's order.
        is_loaded: whether the member's model is in memory, as far as we know.
        is_dark: whether the member's breaker refuses the task now.
        only: names of the providers the configuration binds the task to, whatever else they serve; empty: none.
        named: names of the providers the query asks for, whatever they serve and even as a last resort; empty: none.
        most: how many regular members at most, the preferred ones; None: all.
    """
    if named:
        seats = [msgspec.structs.replace(seat, last_resort=False) for seat in seats if seat.member.name in named]
        only = named
    serving = [seat for seat in seats if (seat.member.name in only if only else serves(seat, task, seats))]
    fresh = [(seat, msgspec.structs.replace(seat.member, loaded=is_loaded(seat.member))) for seat in serving]
    able = [member for seat, member in fresh if not seat.last_resort]
    lit = [member for member in able if not is_dark(member)]
    return Panel(
        regular=tuple((lit or able)[:most]),
        last_resort=tuple(member for seat, member in fresh if seat.last_resort),
        skipped=tuple(member.name for member in able if lit and member not in lit),
        is_forced=bool(able) and not lit,
    )


def serves(seat: Seat, task: str, seats: Sequence[Seat]) -> bool:
    """Whether *seat*, one of *seats*, serves *task*."""
    if task == ASK and not any(ASK in other.tasks for other in seats):
        return not seat.last_resort
    return not seat.tasks or task in seat.tasks

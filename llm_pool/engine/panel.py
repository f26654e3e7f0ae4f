"""
Who may answer: the providers with their assignments, and the panel a task gets from them.

Rules:
- A provider with ``tasks`` serves only those; one without serves every task.
- A plain question (``ask``) goes to the providers that name it or, if none does, to all that are no last resort.
- A provider whose breaker is open is left out while another can be asked; the last one able is never left out.
- A provider that was silent the last few times comes after the others (``suspicion``). Else the order is the file's.
- A provider whose model is known not to be able to do what the question needs (call tools, see) is left out.
- A last resort sits apart: it is asked when nobody else can answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Call, StrategyName

ASK = "ask"
"""The task of a question that names no task."""
MAX_NAME = 64
"""Characters of a stranger's word that an error repeats; names are no longer."""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
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
        unable: what the question needs and they cannot do, by the names of the providers left out for it.
    """

    regular: tuple[Member, ...]
    last_resort: tuple[Member, ...]
    skipped: tuple[str, ...] = ()
    is_forced: bool = False
    unable: dict[str, frozenset[str]] = msgspec.field(default_factory=dict)

    @property
    def is_as_configured(self) -> bool:
        """Nobody was left out, put behind or asked all the same for what is known of him now."""
        return not (self.skipped or self.is_forced or self.unable or any(member.suspect for member in self.regular))


class Plan(msgspec.Struct, frozen=True):
    """What is done for a query: the call, the strategy and the panel."""

    call: Call
    strategy: StrategyName
    panel: Panel


def panel_for(
    task: str,
    assignments: Sequence[Assignment],
    *,
    load_time: Callable[[Member], float],
    breaker_refuses: Callable[[Member], bool],
    is_suspect: Callable[[Member], bool],
    bound_to: Sequence[str] = (),
    requested: Sequence[str] = (),
    limit: int | None = None,
    lacks: Callable[[Member], frozenset[str]] = lambda _: frozenset(),
) -> Panel:
    """
    The panel of *task*.

    Args:
        task: a task's name.
        assignments: all of them, in the file's order.
        load_time: seconds until a member's model is in memory, as far as we know; 0 if it is.
        breaker_refuses: whether the member's breaker refuses the task now.
        is_suspect: whether the member was silent the last few times.
        bound_to: names of the providers the configuration binds the task to, whatever else they serve; empty: none.
        requested: names of the providers the query asks for, whatever they serve, a last resort too; empty: none.
        limit: how many regular members at most, the preferred ones; None: all.
        lacks: what the question needs and the member is known not to be able to do: then it is not asked.

    Raises:
        InvalidRequest: one of *requested* is not there.
    """
    if requested:
        _check_names(requested, [assignment.member.name for assignment in assignments])
        assignments = [
            msgspec.structs.replace(assignment, last_resort=False)
            for assignment in assignments
            if assignment.member.name in requested
        ]
        bound_to = requested
    serving = [
        assignment
        for assignment in assignments
        if (assignment.member.name in bound_to if bound_to else serves(assignment, task, assignments))
    ]
    unable = {assignment.member.name: missing for assignment in serving if (missing := lacks(assignment.member))}
    if unable:
        serving = [assignment for assignment in serving if assignment.member.name not in unable]
    fresh = [
        (assignment, as_it_is(assignment.member, load_time=load_time, is_suspect=is_suspect)) for assignment in serving
    ]
    able = [member for assignment, member in fresh if not assignment.last_resort]
    able.sort(key=lambda member: member.suspect)
    askable = [member for member in able if not breaker_refuses(member)]
    return Panel(
        regular=tuple((askable or able)[:limit]),
        last_resort=tuple(member for assignment, member in fresh if assignment.last_resort),
        skipped=tuple(member.name for member in able if askable and member not in askable),
        is_forced=bool(able) and not askable,
        unable=unable,
    )


def _check_names(requested: Sequence[str], known: Sequence[str]) -> None:
    for name in requested:
        if name not in known:
            hint = nearest(name[:MAX_NAME], known) or f"providers are {', '.join(known)}"
            raise InvalidRequest("providers", f"there is no provider '{name[:MAX_NAME]}'", hint=hint)


def as_it_is(member: Member, *, load_time: Callable[[Member], float], is_suspect: Callable[[Member], bool]) -> Member:
    """*member* with what is known of it now."""
    load, suspect = load_time(member), is_suspect(member)
    if load == member.load_time and suspect is member.suspect:
        return member
    return msgspec.structs.replace(member, load_time=load, suspect=suspect)


def serves(assignment: Assignment, task: str, assignments: Sequence[Assignment]) -> bool:
    """Whether *assignment*, one of *assignments*, serves *task*."""
    if task == ASK and not any(ASK in other.tasks for other in assignments):
        return not assignment.last_resort
    return not assignment.tasks or task in assignment.tasks

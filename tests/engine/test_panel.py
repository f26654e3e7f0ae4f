"""Who may answer a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.engine.panel import Assignment, Panel, panel_for
from llm_pool.testing import Reply, ScriptedProvider, a_panel

if TYPE_CHECKING:
    from collections.abc import Collection


def assignment(name: str, *tasks: str, rank: int = 0, last_resort: bool = False) -> Assignment:
    member = a_panel(ScriptedProvider(name, Reply("")))[0]
    return Assignment(member=member, tasks=tasks, last_resort=last_resort)


def panel(
    task: str,
    *assignments: Assignment,
    refusing: Collection[str] = (),
    suspects: Collection[str] = (),
    **limits: Any,
) -> Panel:
    return panel_for(
        task,
        assignments,
        load_time=lambda m: 0.0,
        breaker_refuses=lambda m: m.name in refusing,
        is_suspect=lambda m: m.name in suspects,
        **limits,
    )


def names(members: tuple) -> list[str]:
    return [member.name for member in members]


def test_a_provider_serves_the_tasks_it_lists_and_one_that_lists_none_serves_all() -> None:
    """In the file's order."""
    found = panel("judge", assignment("a", "judge"), assignment("b", "expand_queries"), assignment("c"))

    assert names(found.regular) == ["a", "c"]


def test_a_plain_question_goes_to_those_who_list_it() -> None:
    """``ask`` is a task like others where a provider names it."""
    found = panel("ask", assignment("a", "judge"), assignment("b", "ask"), assignment("c"))

    assert names(found.regular) == ["b", "c"]


def test_a_plain_question_that_nobody_lists_goes_to_all_but_the_last_resort() -> None:
    """The predecessor's files name no plain question."""
    found = panel(
        "ask", assignment("a", "judge"), assignment("b", "expand_queries"), assignment("c", "judge", last_resort=True)
    )

    assert names(found.regular) == ["a", "b"]
    assert found.last_resort == ()


def test_a_last_resort_sits_apart() -> None:
    """It is on the panel of its tasks, but not among the regular members."""
    found = panel("judge", assignment("a", "judge"), assignment("pocket", "judge", last_resort=True))

    assert names(found.regular) == ["a"]
    assert names(found.last_resort) == ["pocket"]


def test_a_task_bound_to_providers_goes_to_these_only() -> None:
    """``[tasks.X] providers`` counts, whatever else they serve."""
    found = panel("mine", assignment("a", "judge"), assignment("b"), bound_to=("a",))

    assert names(found.regular) == ["a"]


def test_an_open_breaker_leaves_a_provider_out_while_another_can_be_asked() -> None:
    """The panel says whom it skipped."""
    found = panel("judge", assignment("a"), assignment("b"), refusing={"a"})

    assert names(found.regular) == ["b"]
    assert found.skipped == ("a",)
    assert not found.is_forced


def test_the_last_provider_able_is_never_dark() -> None:
    """With every breaker open all are asked, and the panel says so."""
    found = panel("judge", assignment("a"), assignment("b"), refusing={"a", "b"})

    assert names(found.regular) == ["a", "b"]
    assert found.skipped == ()
    assert found.is_forced


def test_a_sender_who_may_ask_few_gets_the_preferred_ones() -> None:
    """The cap counts regular members; a last resort stands by whatever it says."""
    assignments = [assignment("a"), assignment("b"), assignment("c"), assignment("last", last_resort=True)]

    found = panel("judge", *assignments, limit=2)

    assert names(found.regular) == ["a", "b"]
    assert names(found.last_resort) == ["last"]


def test_a_provider_asked_for_by_name_answers_alone() -> None:
    """Whatever it serves, and even if it is a last resort."""
    assignments = [assignment("a", "judge"), assignment("b"), assignment("last", last_resort=True)]

    for name in ("a", "last"):
        found = panel("mine", *assignments, bound_to=("b",), requested=(name,))

        assert names(found.regular) == [name]
        assert found.last_resort == ()


def test_a_provider_that_is_not_there_is_told() -> None:
    """With the nearest name, and not as a panel that failed."""
    with pytest.raises(InvalidRequest, match="there is no provider 'ph13'") as caught:
        panel("judge", assignment("phi3"), assignment("b"), requested=("b", "ph13"))

    assert (caught.value.field, caught.value.hint) == ("providers", "did you mean phi3?")


def test_a_suspect_comes_after_the_others_and_is_asked_all_the_same() -> None:
    """It is no open breaker: where all are suspects, the order is the file's."""
    assignments = [assignment("a"), assignment("b"), assignment("c")]

    one = panel("judge", *assignments, suspects=("a",))
    every = panel("judge", *assignments, suspects=("a", "b", "c"))
    capped = panel("judge", *assignments, suspects=("a",), limit=2)

    assert [(m.name, m.suspect) for m in one.regular] == [("b", False), ("c", False), ("a", True)]
    assert names(every.regular) == ["a", "b", "c"]
    assert names(capped.regular) == ["b", "c"]
    assert (one.skipped, every.is_forced) == ((), False)

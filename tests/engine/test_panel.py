"""Who may answer a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.panel import Panel, Seat, panel_for
from llm_pool.testing import Reply, ScriptedProvider, a_panel

if TYPE_CHECKING:
    from collections.abc import Collection


def seat(name: str, *tasks: str, rank: int = 0, last_resort: bool = False) -> Seat:
    member = a_panel(ScriptedProvider(name, Reply("")))[0]
    return Seat(member=member, tasks=tasks, last_resort=last_resort)


def panel(task: str, *seats: Seat, dark: Collection[str] = (), only: tuple[str, ...] = ()) -> Panel:
    return panel_for(task, seats, is_loaded=lambda m: True, is_dark=lambda m: m.name in dark, only=only)


def names(members: tuple) -> list[str]:
    return [member.name for member in members]


def test_a_provider_serves_the_tasks_it_lists_and_one_that_lists_none_serves_all() -> None:
    """In the file's order."""
    found = panel("judge", seat("a", "judge"), seat("b", "expand_queries"), seat("c"))

    assert names(found.regular) == ["a", "c"]


def test_a_plain_question_goes_to_those_who_list_it() -> None:
    """``ask`` is a task like others where a provider names it."""
    found = panel("ask", seat("a", "judge"), seat("b", "ask"), seat("c"))

    assert names(found.regular) == ["b", "c"]


def test_a_plain_question_that_nobody_lists_goes_to_all_but_the_last_resort() -> None:
    """The predecessor's files name no plain question."""
    found = panel("ask", seat("a", "judge"), seat("b", "expand_queries"), seat("c", "judge", last_resort=True))

    assert names(found.regular) == ["a", "b"]
    assert found.last_resort == ()


def test_a_last_resort_sits_apart() -> None:
    """It is on the panel of its tasks, but not among the regular members."""
    found = panel("judge", seat("a", "judge"), seat("pocket", "judge", last_resort=True))

    assert names(found.regular) == ["a"]
    assert names(found.last_resort) == ["pocket"]


def test_a_task_bound_to_providers_goes_to_these_only() -> None:
    """``[tasks.X] providers`` counts, whatever else they serve."""
    found = panel("mine", seat("a", "judge"), seat("b"), only=("a",))

    assert names(found.regular) == ["a"]


def test_an_open_breaker_leaves_a_provider_out_while_another_can_be_asked() -> None:
    """The panel says whom it skipped."""
    found = panel("judge", seat("a"), seat("b"), dark={"a"})

    assert names(found.regular) == ["b"]
    assert found.skipped == ("a",)
    assert not found.is_forced


def test_the_last_provider_able_is_never_dark() -> None:
    """With every breaker open all are asked, and the panel says so."""
    found = panel("judge", seat("a"), seat("b"), dark={"a", "b"})

    assert names(found.regular) == ["a", "b"]
    assert found.skipped == ()
    assert found.is_forced


def test_a_sender_who_may_ask_few_gets_the_preferred_ones() -> None:
    """The cap counts regular members; a last resort stands by whatever it says."""
    seats = [seat("a"), seat("b"), seat("c"), seat("last", last_resort=True)]

    found = panel_for("judge", seats, is_loaded=lambda m: True, is_dark=lambda m: False, most=2)

    assert names(found.regular) == ["a", "b"]
    assert names(found.last_resort) == ["last"]


def test_a_provider_asked_for_by_name_answers_alone() -> None:
    """Whatever it serves, and even if it is a last resort."""
    seats = [seat("a", "judge"), seat("b"), seat("last", last_resort=True)]

    for name in ("a", "last"):
        found = panel_for("mine", seats, is_loaded=lambda m: True, is_dark=lambda m: False, only=("b",), named=(name,))

        assert names(found.regular) == [name]
        assert found.last_resort == ()

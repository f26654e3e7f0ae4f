"""A line that is kept in order serves as one that is sorted anew each time."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.fair_queueing import Turns, in_turn
from llm_pool.qos.queueing import Limits, Machine, Waiter, ahead_of, choose
from llm_pool.qos.waiting_line import WaitingLine

Asked: TypeAlias = list[tuple[str, str, int]]

asked = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz"), st.integers(0, 5)), max_size=30)
turns = st.lists(st.sampled_from("ABC"), max_size=6)
models = st.sets(st.sampled_from("xyz"))


def waiters(requests: Asked) -> list[Waiter]:
    return [
        Waiter(model, 60.0 + deadline, 0.0, ticket, tenant) for ticket, (tenant, model, deadline) in enumerate(requests)
    ]


def ahead(served: list[str]) -> dict[str, float]:
    counted = Turns()
    for tenant in served:
        counted.serve(tenant, last=False)
    return dict(counted.ahead)


@given(requests=asked, served=turns, counted=models, taken=models)
def test_the_next_one_is_the_first_of_the_sorted(
    requests: Asked, served: list[str], counted: set[str], taken: set[str]
) -> None:
    """Of those that wait for one of *taken*, where all of *counted* have a turn."""
    waiting, taken = waiters(requests), taken & counted
    ordered = in_turn([each for each in waiting if each.model in counted], ahead(served))

    found = WaitingLine(waiting).first(counted, taken, ahead(served))

    assert found == next((each for each in ordered if each.model in taken), None)


@given(requests=asked, served=turns, wanted=models, at=st.integers(0, 30))
def test_who_comes_before_is_who_is_sorted_before(
    requests: Asked, served: list[str], wanted: set[str], at: int
) -> None:
    """Whether the one asked about waits already or not."""
    waiting = waiters(requests)
    newcomer = waiting[at] if at < len(waiting) else Waiter("x", 62.0, 0.0, 99, "B")
    others = [each for each in waiting if each is not newcomer]
    ordered = in_turn([*(each for each in others if each.model in wanted), newcomer], ahead(served))

    for line in (WaitingLine(others), WaitingLine(waiting)):
        assert line.before(newcomer, wanted, ahead(served)) == ordered[: ordered.index(newcomer)]


@given(requests=asked, leaving=st.lists(st.integers(0, 40)))
def test_who_leaves_is_gone(requests: Asked, leaving: list[int]) -> None:
    """Once, and nobody else."""
    waiting = waiters(requests)
    line, left = WaitingLine(waiting), list(waiting)

    for at in leaving:
        gone = waiting[at] if at < len(waiting) else Waiter("x", 0.0, 0.0, at)
        line.discard(gone)
        left = [each for each in left if each != gone]

    assert sorted(each.ticket for each in line) == [each.ticket for each in left]
    assert len(line) == len(left)
    assert set(line.models) == {each.model for each in left}
    assert bool(line) == bool(left)


@given(requests=asked, served=turns, running=st.lists(st.sampled_from("xyz"), max_size=3), loaded=models)
def test_the_rule_takes_a_line_or_a_list(
    requests: Asked, served: list[str], running: list[str], loaded: set[str]
) -> None:
    """And says the same of both."""
    waiting, limits = waiters(requests), Limits(slots=2, max_loaded=2)
    machine = Machine(loaded=sorted(loaded), running=running, turns_ahead=ahead(served))
    line = WaitingLine(reversed(waiting))

    assert choose(waiting, machine, limits, 1.0) == choose(line, machine, limits, 1.0)
    for each in waiting[:3]:
        assert ahead_of(each, waiting, machine, limits) == ahead_of(each, line, machine, limits)

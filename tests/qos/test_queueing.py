"""Who is next on one machine."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.qos.queueing import (
    MIN_LOAD_TIMES,
    MIN_RETRY_AFTER,
    Limits,
    Machine,
    QueueRefusal,
    Waiter,
    ahead_of,
    choose,
    evicted_by,
    expected_wait,
    must_load,
    refuse,
)

ONE_MODEL = Limits(slots=1, max_loaded=1, batch_wait=2.0)
HOLDS_A = Machine(loaded=["A"])


def waiters(models: str, *, deadline: float = 60.0, arrived: float = 0.0) -> list[Waiter]:
    """One request for each letter, a millisecond apart, each with as long to wait as the others."""
    return [
        Waiter(model, deadline + at / 1000, arrived + at / 1000, ticket=at)
        for at, model in enumerate(models.replace(" ", ""))
    ]


def served(models: str, limits: Limits, *, service: float, load: float = 0.0, every: float = 0.001) -> str:
    """The order in which a machine that holds A serves requests that come one *every* so many seconds."""
    coming = [Waiter(model, 60.0 + at * every, at * every, at) for at, model in enumerate(models.replace(" ", ""))]
    order, now = "", 0.0
    machine = Machine(loaded=["A"], loads=dict.fromkeys("ABC", load))
    while coming:
        now = max(now, coming[0].arrived)
        chosen = choose([each for each in coming if each.arrived <= now], machine, limits, now)
        assert chosen is not None
        coming.remove(chosen)
        if chosen.model not in machine.loaded:
            machine = Machine(loaded=[chosen.model], loads=machine.loads, turn_began=now)
            now += load
        order += chosen.model
        now += service
    return order


def test_requests_for_the_loaded_model_are_served_together() -> None:
    """A A A B B instead of A B A B A."""
    assert served("A B A B A", ONE_MODEL, service=0.1) == "AAABB"


def test_without_memory_limits_the_order_is_the_deadlines() -> None:
    """Where everything fits there is nothing to put together."""
    assert served("C B A", Limits(), service=1.0) == "CBA"


def test_what_came_together_is_served_with_one_load_for_each_model() -> None:
    """However long it takes: nobody who came later passes by."""
    assert served("A B C A B C A B C", ONE_MODEL, service=3.0) == "AAABBBCCC"


def test_the_bound_ends_a_turn() -> None:
    """With a patience of two seconds and a second each, B does not wait for the A that come long after it."""
    assert served("A B A A A A A A", ONE_MODEL, service=1.0, every=0.5) == "AAABAAAA"


def test_a_turn_is_worth_its_load() -> None:
    """Where a load takes a second, turns last eight, whatever the patience."""
    order = served("AB" * 20, ONE_MODEL, service=1.0, load=1.0, every=0.5)

    assert order.startswith("A" * int(MIN_LOAD_TIMES + 1) + "B" * int(MIN_LOAD_TIMES - 1))


def test_nobody_waits_longer_for_others_than_half_of_its_time() -> None:
    """A request with a second to live is due after half of it, if the present turn has lasted as long."""
    waiting = [*waiters("AAA"), Waiter("B", deadline=1.0, arrived=0.0, ticket=9)]

    early = choose(waiting, HOLDS_A, ONE_MODEL, 0.49)
    late = choose(waiting, HOLDS_A, ONE_MODEL, 0.51)

    assert early is not None
    assert late is not None
    assert (early.model, late.model) == ("A", "B")


def test_the_earliest_deadline_goes_first_among_equals() -> None:
    """EDF, then arrival, then ticket."""
    waiting = [Waiter("A", 9.0, 0.0, 1), Waiter("A", 5.0, 2.0, 2), Waiter("A", 5.0, 1.0, 4), Waiter("A", 5.0, 1.0, 3)]

    assert choose(waiting, HOLDS_A, ONE_MODEL, 3.0) == waiting[3]


def test_no_slot_no_choice() -> None:
    """All slots taken: nobody is next."""
    assert choose(waiters("A"), Machine(loaded=["A"], running=["A"]), ONE_MODEL, 0.0) is None


def test_a_due_swap_holds_the_others_back_until_the_machine_is_free_for_it() -> None:
    """With two slots, requests for A must not keep A busy for ever while B is due."""
    limits = Limits(slots=2, max_loaded=1, batch_wait=2.0)
    waiting = [*waiters("B A"), Waiter("A", 63.0, 2.5, 3)]

    before_due = choose(waiting, Machine(loaded=["A"], running=["A"]), limits, 1.0)
    due = choose(waiting, Machine(loaded=["A"], running=["A"]), limits, 3.0)
    free = choose(waiting, Machine(loaded=["A"], running=[]), limits, 3.0)

    assert before_due is not None
    assert before_due.model == "A"
    assert due is None
    assert free is not None
    assert free.model == "B"


@pytest.mark.parametrize(
    ("loaded", "running", "limits", "size", "evicted"),
    [
        ("AB", "", Limits(), 9, ()),
        ("AB", "", Limits(max_loaded=2), 0, ("A",)),
        ("AB", "A", Limits(max_loaded=2), 0, ("B",)),
        ("AB", "AB", Limits(max_loaded=2), 0, None),
        ("ABC", "AB", Limits(max_loaded=1), 0, ()),
        ("AB", "", Limits(memory=10), 2, ()),
        ("AB", "", Limits(memory=10), 5, ("A",)),
        ("AB", "", Limits(memory=10), 50, ("A", "B")),
        ("", "", Limits(memory=10), 50, ()),
    ],
)
def test_what_makes_room(
    loaded: str, running: str, limits: Limits, size: float, evicted: tuple[str, ...] | None
) -> None:
    """For C: the idle, least recently used first, and no more of them than needed."""
    machine = Machine(loaded=list(loaded), running=list(running), sizes={"A": 4, "B": 4, "C": size})

    assert evicted_by("C", machine, limits) == evicted


def test_unknown_sizes_weigh_nothing() -> None:
    """A memory limit says nothing of models whose size nobody has told."""
    assert evicted_by("C", Machine(loaded=["A", "B"]), Limits(memory=1)) == ()


def test_a_full_queue_refuses() -> None:
    """Unless the newcomer would not wait at all."""
    limits = Limits(slots=1, queue=2)
    busy = Machine(loaded=["A"], running=["A"], services={"A": 4.0})
    newcomer = Waiter("A", 100.0, 1.0, 7)

    assert refuse(newcomer, waiters("A"), busy, limits, 1.0) is None
    assert refuse(newcomer, waiters("AA"), busy, limits, 1.0) == QueueRefusal("full", 10.0)
    assert refuse(newcomer, [], HOLDS_A, Limits(queue=0), 1.0) is None
    assert refuse(newcomer, [], busy, Limits(queue=0), 1.0) == QueueRefusal("full", 2.0)


def test_who_would_be_late_is_refused_at_once() -> None:
    """Two half-done and four ahead of two slots, three seconds each: 7.5 s do not fit into five."""
    limits = Limits(slots=2)
    machine = Machine(loaded=["A"], running=["A", "A"], services={"A": 3.0})

    assert refuse(Waiter("A", 65.0, 60.0, 9), waiters("AAAA"), machine, limits, 60.0) == QueueRefusal("late", 2.5)
    assert refuse(Waiter("A", 68.0, 60.0, 9), waiters("AAAA"), machine, limits, 60.0) is None


def test_a_load_that_outlasts_the_deadline_is_no_reason_to_refuse() -> None:
    """It has to begin some time, and goes on when its asker is gone. The loads of those ahead are a reason."""
    machine = Machine(loaded=["A"], loads={"B": 5.0, "C": 1.0})

    assert refuse(Waiter("B", 1.5, 0.0, 1), [], machine, ONE_MODEL, 0.0) is None
    assert refuse(Waiter("C", 1.5, 1.0, 2), waiters("B", deadline=1.0), machine, ONE_MODEL, 0.0) == QueueRefusal(
        "late", 3.5
    )


def test_an_expired_request_is_refused_and_told_a_positive_time() -> None:
    """R2 and R22: no negative waits."""
    assert refuse(Waiter("A", 1.0, 1.0, 1), [], HOLDS_A, ONE_MODEL, 1.0) == QueueRefusal("late", MIN_RETRY_AFTER)


def test_a_costly_request_counts_all_free_and_more_urgent_ones_ahead() -> None:
    """And a free one only the free ones before it."""
    waiting = [Waiter("A", 5.0, 0.0, 1), Waiter("B", 6.0, 0.0, 2), Waiter("A", 9.0, 0.0, 3), Waiter("B", 10.0, 0.0, 4)]

    assert [each.ticket for each in ahead_of(waiting[3], waiting, HOLDS_A, ONE_MODEL)] == [1, 3, 2]
    assert [each.ticket for each in ahead_of(waiting[2], waiting, HOLDS_A, ONE_MODEL)] == [1]


def test_the_expected_wait_counts_each_load_once() -> None:
    """One B ahead and a C of our own: two loads, however many B."""
    machine = Machine(loaded=["A"], loads={"B": 2.0, "C": 3.0}, services={"B": 1.0})

    assert expected_wait(Waiter("C", 99.0, 0.0, 9), waiters("BB"), machine, ONE_MODEL) == pytest.approx(7.0)


LOADED_AHEAD = Machine(loaded=["A"], loadable="ABC")
"""A machine that loads a model before it calls it."""


def turn(waiting: str, machine: Machine, limits: Limits, *, at: float = 1.0) -> str:
    """Whose turn it is: a model, ``+`` before it if it must be loaded; empty: nobody's."""
    chosen = choose(waiters(waiting), machine, limits, at)
    return "" if chosen is None else ("+" if must_load(chosen.model, machine) else "") + chosen.model


@pytest.mark.parametrize(
    ("waiting", "changes", "limits", "whose"),
    [
        ("BA", {}, ONE_MODEL, "A"),  # the loaded one first
        ("B", {}, ONE_MODEL, "+B"),
        ("B", {"running": ["A"]}, ONE_MODEL, ""),  # A answers: it is not put out
        ("BA", {}, Limits(max_loaded=2), "+B"),  # B fits beside: its load costs nobody
        ("B", {"running": ["A"]}, Limits(max_loaded=2), "+B"),  # a load takes no slot
        ("BA", {"loaded": ["A", "B"], "loading": "B"}, Limits(max_loaded=2), "A"),  # others go on meanwhile
        ("B", {"loaded": ["A", "B"], "loading": "B"}, Limits(max_loaded=2), ""),  # on its way
        ("C", {"loaded": ["A", "B"], "loading": "B"}, Limits(max_loaded=3), ""),  # one load at a time
    ],
)
def test_whose_turn_it_is_where_models_are_loaded_ahead(
    waiting: str, changes: dict[str, object], limits: Limits, whose: str
) -> None:
    machine = msgspec.structs.replace(LOADED_AHEAD, **changes)

    assert turn(waiting, machine, limits) == whose


def test_a_load_that_nobody_has_timed_is_taken_for_as_long_as_the_others() -> None:
    """So that the first swaps are batched like all others."""
    machine = msgspec.structs.replace(LOADED_AHEAD, loads={"A": 1.0})
    waiting = [*waiters("B"), Waiter("A", 70.0, 5.0, 2)]

    before, after = (choose(waiting, machine, ONE_MODEL, MIN_LOAD_TIMES + more) for more in (-0.1, 0.1))

    assert before is waiting[1]
    assert after is waiting[0]


@given(st.lists(st.sampled_from("ABC"), min_size=1, max_size=18), st.integers(1, 3), st.integers(1, 3))
def test_all_at_once_are_served_with_one_load_for_each_model(models: list[str], slots: int, holds: int) -> None:
    """Whatever the order, with time enough: everybody is served, nobody before the load, and no model twice loaded."""
    limits, now, loads, served = Limits(slots=slots, max_loaded=holds, batch_wait=1e6), 0.01, [], 0
    machine, waiting = Machine(loadable="ABC"), waiters("".join(models), deadline=1e7)
    while waiting:
        chosen = choose(waiting, machine, limits, now)
        if chosen is None:
            assert machine.running
            machine = msgspec.structs.replace(machine, running=machine.running[1:])
            continue
        evicted = evicted_by(chosen.model, machine, limits)
        assert evicted is not None
        assert not set(evicted) & set(machine.running)
        loaded = [m for m in machine.loaded if m not in evicted]
        if must_load(chosen.model, machine):
            loads.append(chosen.model)
            machine = msgspec.structs.replace(machine, loaded=[*loaded, chosen.model])
        else:
            assert chosen.model in machine.loaded
            assert len(machine.running) < slots
            waiting.remove(chosen)
            machine = msgspec.structs.replace(machine, running=[*machine.running, chosen.model])
            served += 1
    assert served == len(models)
    assert sorted(loads) == sorted(set(models))


MODELS = st.sampled_from("ABC")
WAITERS = st.lists(st.builds(Waiter, MODELS, st.floats(1, 50), st.floats(0, 20), st.integers(0, 999)), max_size=12)
MACHINES = st.builds(
    lambda loaded, running, turn, load: Machine(
        loaded=list(dict.fromkeys(loaded + running)),
        running=running,
        turn_began=turn,
        loads=dict.fromkeys("ABC", load),
    ),
    st.lists(MODELS, max_size=3),
    st.lists(MODELS, max_size=2),
    st.floats(0, 30),
    st.floats(0, 9),
)
LIMITS = st.builds(
    lambda slots, loaded, batch_wait: Limits(slots=slots, max_loaded=loaded, batch_wait=batch_wait),
    st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.floats(0, 5),
)


@given(WAITERS, MACHINES, LIMITS, st.floats(0, 60))
def test_a_machine_never_idles_while_somebody_could_run(
    waiting: list[Waiter], machine: Machine, limits: Limits, now: float
) -> None:
    """An idle machine always takes somebody; and nobody is taken beyond the slots or by evicting who answers."""
    chosen = choose(waiting, machine, limits, now)

    if waiting and not machine.running:
        assert chosen is not None
    if chosen is not None:
        assert chosen in waiting
        assert len(machine.running) < limits.slots
        assert evicted_by(chosen.model, machine, limits) is not None


@given(WAITERS, MACHINES, LIMITS)
def test_nobody_starves(waiting: list[Waiter], machine: Machine, limits: Limits) -> None:
    """Long after, with the machine idle, the costly request that came first is next, whoever else is waiting."""
    idle = Machine(loaded=machine.loaded, loads=machine.loads, turn_began=machine.turn_began)
    costly = [each for each in waiting if evicted_by(each.model, idle, limits)]
    chosen = choose(waiting, idle, limits, 1000.0)

    if costly:
        assert chosen is not None
        assert chosen.arrived == min(each.arrived for each in costly)
    elif chosen is not None:
        assert chosen.deadline == min((each.deadline for each in waiting), default=math.inf)

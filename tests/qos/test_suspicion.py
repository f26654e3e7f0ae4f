"""Who has been silent lately."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llm_pool.qos.suspicion import ALIKE, ENOUGH, FIRST_HOLD, MAX_HOLD, Suspicion

PATIENCE, SPAN = 0.3, 1.5


def silent(times: int, silence: float = PATIENCE, *, now: float = 0.0) -> Suspicion:
    suspicion = Suspicion()
    for _ in range(times):
        suspicion.begin(now)
        suspicion.late(silence, now)
    return suspicion


def is_suspect(suspicion: Suspicion, now: float, *, patience: float = PATIENCE, span: float = SPAN) -> bool:
    return suspicion.is_suspect(now, patience=patience, span=span)


def test_three_silences_in_a_row_make_a_suspect() -> None:
    """Two may be chance."""
    assert [is_suspect(silent(times), 1.0) for times in range(5)] == [False, False, False, True, True]


def test_one_good_answer_ends_it() -> None:
    """At any time, and what was held against it is forgotten."""
    suspicion = silent(5)
    suspicion.good()
    suspicion.late(PATIENCE, 1.0)

    assert not is_suspect(suspicion, 1.0)
    assert not suspicion.is_clear


def test_calls_that_were_not_done_count_among_themselves() -> None:
    """One that writes a word a second is not silent, and is of no use to an asker with less time than it takes."""
    suspicion = Suspicion()
    for _ in range(ENOUGH):
        suspicion.missed(SPAN, 0.0)

    assert is_suspect(suspicion, 1.0)
    assert is_suspect(suspicion, 1.0, span=SPAN / 2)
    assert not is_suspect(suspicion, 1.0, span=60.0)


def test_an_impatient_asker_takes_no_backend_from_a_patient_one() -> None:
    """What was silent for a tenth of a second may well answer in three."""
    suspicion = silent(50, 0.1)

    assert is_suspect(suspicion, 1.0, patience=0.1)
    assert not is_suspect(suspicion, 1.0, patience=0.3)


def test_impatient_askers_do_not_hide_what_patient_ones_saw() -> None:
    """The longest silences count, not the latest."""
    suspicion = silent(ENOUGH, 0.3)
    for _ in range(50):
        suspicion.late(0.1, 0.0)

    assert is_suspect(suspicion, 1.0, patience=0.3)


def test_deadlines_that_jitter_are_alike() -> None:
    """A fifth more patience is not another asker."""
    suspicion = silent(ENOUGH, 0.3)

    assert is_suspect(suspicion, 1.0, patience=0.3 / ALIKE - 0.001)
    assert not is_suspect(suspicion, 1.0, patience=0.3 / ALIKE + 0.001)


def test_after_the_hold_one_call_is_the_trial() -> None:
    """That it begins makes it a suspect again, for twice as long."""
    suspicion = silent(ENOUGH)

    held = [is_suspect(suspicion, FIRST_HOLD - 0.1), is_suspect(suspicion, FIRST_HOLD)]
    suspicion.begin(FIRST_HOLD)
    again = [is_suspect(suspicion, FIRST_HOLD + at) for at in (0.0, 2 * FIRST_HOLD - 0.1, 2 * FIRST_HOLD)]

    assert (held, again) == ([True, False], [True, True, False])


def test_a_clock_that_steps_back_ends_a_hold_at_most() -> None:
    """It lengthens none."""
    assert not is_suspect(silent(ENOUGH, now=100.0), 50.0)


@given(st.lists(st.tuples(st.sampled_from(["late", "missed"]), st.floats(0.0, 100.0)), max_size=30))
def test_who_waits_longer_is_never_more_suspicious(held: list[tuple[str, float]]) -> None:
    """Whatever was held against it."""
    suspicion = Suspicion()
    for kind, seconds in held:
        getattr(suspicion, kind)(seconds, 0.0)

    verdicts = [is_suspect(suspicion, 1.0, patience=p, span=10 * p) for p in (0.01, 0.1, 1.0, 10.0, 100.0)]

    assert verdicts == sorted(verdicts, reverse=True)


class Life(RuleBasedStateMachine):
    """Any sequence of calls, answers and silences."""

    def __init__(self) -> None:
        super().__init__()
        self.suspicion, self.now, self.silences = Suspicion(), 0.0, 0
        self.trials: list[float] = []

    @rule(seconds=st.floats(0.0, 100.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def hang(self) -> None:
        was_suspect, was_held = is_suspect(self.suspicion, self.now), self.suspicion.is_held
        self.suspicion.begin(self.now)
        if was_held and not was_suspect:
            self.trials.append(self.now)
        self.suspicion.late(PATIENCE, self.now)
        self.silences += 1

    @rule()
    def answer(self) -> None:
        self.suspicion.begin(self.now)
        self.suspicion.good()
        self.silences = 0
        self.trials.clear()

    @invariant()
    def three_and_no_fewer(self) -> None:
        if is_suspect(self.suspicion, self.now):
            assert self.silences >= ENOUGH
        assert self.suspicion.is_clear == (self.silences == 0)

    @invariant()
    def it_is_tried_again_in_the_end(self) -> None:
        assert not is_suspect(self.suspicion, self.now + MAX_HOLD + 1e-6)

    @invariant()
    def trials_are_a_hold_apart(self) -> None:
        apart = [after - before for before, after in zip(self.trials, self.trials[1:], strict=False)]
        assert all(gap >= FIRST_HOLD - 1e-6 for gap in apart)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1e9])
def test_repr_tells_what_is_held_against_it(seconds: float) -> None:
    """For a person at a debugger."""
    assert repr(silent(2, seconds)) == "<Suspicion [2 silent, 0 not done, held for 0 s]>"

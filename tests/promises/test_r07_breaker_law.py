"""R7: the breaker's law holds under any sequence of calls, results, waits and clock steps."""

from __future__ import annotations

import math
from random import Random

from hypothesis import HealthCheck, settings, stateful
from hypothesis import strategies as st

from llm_pool.qos.breaker import Breaker, Permit, Refusal, Result, Rules

RULES = Rules(fail_rate=0.5, window_size=8, min_calls=4, cooldown=10.0, max_cooldown=80.0, jitter=0.0)


class Oracle:
    """The law in the plainest words we have: absolute instants, no jitter, no clock that steps back."""

    def __init__(self) -> None:
        self.state, self.era, self.row = "closed", 0, 0
        self.window: list[bool] = []
        self.until = self.calm_until = self.rest_until = -math.inf
        self.probe_until: float | None = None

    def tick(self, now: float) -> None:
        if self.probe_until is not None and now >= self.probe_until:
            self.open(self.probe_until)
        if self.state == "open" and now >= self.until:
            self.enter("half-open")

    def enter(self, state: str) -> None:
        self.state, self.era, self.window, self.probe_until = state, self.era + 1, [], None

    def open(self, now: float) -> None:
        self.row = 1 if self.state == "closed" and now >= self.calm_until else self.row + 1
        self.length = min(10.0 * 2 ** (self.row - 1), 80.0)
        self.until = now + self.length
        self.enter("open")

    def verdict(self, now: float) -> str:
        self.tick(now)
        if now < self.rest_until:
            return "backoff"
        if self.state == "half-open":
            return "probe" if self.probe_until is None else "probing"
        return "open" if self.state == "open" else "yes"

    def record(self, era: int, probe: bool, result: str, now: float) -> None:
        self.tick(now)
        if era != self.era:
            return
        if self.state == "closed" and result != "neutral":
            self.window = [*self.window, result == "failed"][-8:]
            if sum(self.window) >= 4 and sum(self.window) / len(self.window) >= 0.5:
                self.open(now)
        elif self.state != "closed" and result == "ok":
            self.calm_until = now + self.length
            self.enter("closed")
        elif probe and result == "failed":
            self.open(now)
        elif probe and result == "neutral":
            self.probe_until = None


class BreakerLaw(stateful.RuleBasedStateMachine):
    """Drives the breaker and the oracle with the same events on virtual time."""

    permits = stateful.Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.breaker, self.oracle = Breaker(RULES, Random(0)), Oracle()
        self.probes_out: list[tuple[Permit, float]] = []

    @stateful.rule(seconds=st.sampled_from([0.0, 0.125, 1.0, 4.875, 5.0, 9.875, 10.0, 20.0, 80.0, 3600.0, 1e9]))
    def wait(self, seconds: float) -> None:
        self.now += seconds  # an hour or thirty years: the machine was asleep

    @stateful.rule(target=permits, lease=st.sampled_from([1.0, 5.0, 30.0]), force=st.booleans())
    def admit(self, lease: float, force: bool) -> object:
        expected = self.oracle.verdict(self.now)
        given = self.breaker.admit(self.now, lease=lease, force=force)
        if isinstance(given, Refusal):
            assert given.why == expected
            assert not force or given.why == "backoff"
            assert 0 < given.retry_after <= max(RULES.max_cooldown, lease, 30.0)
            return stateful.multiple()
        assert expected in {"yes", "probe"} or (force and expected in {"open", "probing"})
        assert given.probe == (expected == "probe")
        if given.probe:
            self.oracle.probe_until = self.now + lease
            self.probes_out = [(permit, end) for permit, end in self.probes_out if end > self.now]
            self.probes_out.append((given, self.now + lease))
        return given, self.oracle.era

    @stateful.rule(lent=stateful.consumes(permits), result=st.sampled_from(["ok", "failed", "failed", "neutral"]))
    def end(self, lent: tuple[Permit, int], result: Result) -> None:
        permit, era = lent
        self.breaker.record(permit, result, self.now)
        self.oracle.record(era, permit.probe, result, self.now)
        self.probes_out = [(probe, end) for probe, end in self.probes_out if probe is not permit]

    @stateful.rule(seconds=st.sampled_from([0.5, 3.0, 80.0]))
    def asked_to_rest(self, seconds: float) -> None:
        self.breaker.back_off(seconds, self.now)
        self.oracle.rest_until = max(self.oracle.rest_until, self.now + seconds)

    @stateful.invariant()
    def same_state(self) -> None:
        self.oracle.tick(self.now)
        assert self.breaker.state(self.now) == self.oracle.state

    @stateful.invariant()
    def never_two_probes(self) -> None:
        current = [p for p, end in self.probes_out if end > self.now and p.generation == self.breaker._generation]
        assert len(current) <= 1

    @stateful.invariant()
    def the_last_one_is_never_dark(self) -> None:
        """Whatever happened, who must ask may ask, unless the backend itself asked for a pause."""
        refusal = self.breaker.refusal(self.now)
        if refusal is not None and refusal.why != "backoff":
            assert isinstance(self.breaker.admit(self.now, lease=1.0, force=True), Permit)


TestBreakerLaw = BreakerLaw.TestCase
TestBreakerLaw.settings = settings(
    max_examples=100, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class SteppingClock(stateful.RuleBasedStateMachine):
    """R22 for the breaker: a clock that steps both ways can shorten or restart a wait, never lengthen it."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.breaker = 1000.0, Breaker(RULES, Random(0))

    @stateful.rule(seconds=st.sampled_from([-3600.0, -1.0, 0.5, 10.0, 3600.0]))
    def step(self, seconds: float) -> None:
        self.now += seconds

    @stateful.rule(result=st.sampled_from(["ok", "failed", "failed", None]))
    def call(self, result: Result | None) -> None:
        permit = self.breaker.admit(self.now, lease=5.0)
        if isinstance(permit, Permit) and result is not None:
            self.breaker.record(permit, result, self.now)

    @stateful.rule()
    def pause(self) -> None:
        self.breaker.back_off(30.0, self.now)

    @stateful.invariant()
    def no_wait_is_longer_than_its_rule(self) -> None:
        refusal = self.breaker.refusal(self.now)
        assert refusal is None or 0 < refusal.retry_after <= RULES.max_cooldown


TestSteppingClock = SteppingClock.TestCase
TestSteppingClock.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

"""The breaker's rules, one by one; its law under any sequence of events is in promises/test_r07_breaker_law.py."""

from __future__ import annotations

from random import Random

import pytest

from llm_pool.qos.breaker import Breaker, Permit, Refusal, Rules, State

PLAIN = Rules(fail_rate=0.5, window_size=10, cooldown=10.0, max_cooldown=40.0, jitter=0.0)


def a_breaker(rules: Rules = PLAIN) -> Breaker:
    return Breaker(rules, Random(1))


def admitted(breaker: Breaker, now: float, *, force: bool = False) -> Permit:
    permit = breaker.admit(now, lease=5.0, force=force)
    assert isinstance(permit, Permit)
    return permit


def refused(breaker: Breaker, now: float, *, force: bool = False) -> Refusal:
    refusal = breaker.admit(now, lease=5.0, force=force)
    assert isinstance(refusal, Refusal)
    return refusal


def fail(breaker: Breaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        breaker.record(admitted(breaker, now), "failed", now)


def opened(rules: Rules = PLAIN) -> Breaker:
    """A breaker that opened at 0."""
    breaker = a_breaker(rules)
    fail(breaker, 5)
    assert breaker.state(0.0) is State.OPEN
    return breaker


def test_one_failure_of_one_call_is_not_a_hundred_percent() -> None:
    """With the configuration's defaults a single failure leaves the breaker closed."""
    breaker = a_breaker(Rules())

    fail(breaker, 4)

    assert breaker.state(0.0) is State.CLOSED


def test_a_dead_backend_is_left_alone_after_five_failures() -> None:
    """The defaults, 0.10 over 50, mean five failures."""
    breaker = a_breaker(Rules())

    fail(breaker, 5)

    assert breaker.state(0.0) is State.OPEN


@pytest.mark.parametrize(
    ("rate", "window", "good", "bad_that_open"),
    [(0.10, 50, 100, 5), (0.5, 10, 100, 5), (0.5, 40, 100, 20), (1.0, 3, 0, 3), (0.02, 50, 100, 1), (0.34, 3, 2, 2)],
)
def test_the_failure_rate_is_taken_over_the_window(rate: float, window: int, good: int, bad_that_open: int) -> None:
    """After many good results, exactly the configured share of the window opens."""
    breaker = a_breaker(Rules(fail_rate=rate, window_size=window, jitter=0.0))
    for _ in range(good):
        breaker.record(admitted(breaker, 0.0), "ok", 0.0)

    fail(breaker, bad_that_open - 1)
    before = breaker.state(0.0)
    fail(breaker, 1)

    assert (before, breaker.state(0.0)) == (State.CLOSED, State.OPEN)


def test_the_rate_waits_for_enough_calls() -> None:
    """``min_calls`` results must be in, be they all failures."""
    breaker = a_breaker(Rules(fail_rate=0.1, window_size=50, min_calls=12))

    fail(breaker, 11)
    before = breaker.state(0.0)
    fail(breaker, 1)

    assert (before, breaker.state(0.0)) == (State.CLOSED, State.OPEN)


def test_old_failures_leave_the_window() -> None:
    """Four failures, then a window of good results, then four failures: closed all along."""
    breaker = a_breaker()

    fail(breaker, 4)
    for _ in range(10):
        breaker.record(admitted(breaker, 0.0), "ok", 0.0)
    fail(breaker, 4)

    assert breaker.state(0.0) is State.CLOSED


def test_neutral_results_do_not_count() -> None:
    """A thousand refused or cancelled calls neither open the breaker nor dilute the failures."""
    breaker = a_breaker()

    for _ in range(1000):
        breaker.record(admitted(breaker, 0.0), "neutral", 0.0)
    fail(breaker, 5)

    assert breaker.state(0.0) is State.OPEN


def test_open_refuses_and_says_for_how_long() -> None:
    """The refusal carries the rest of the cooldown."""
    breaker = opened()

    assert refused(breaker, 4.0) == Refusal("open", 6.0)


def test_half_open_admits_one_attempt() -> None:
    """While the probe is out everybody else is refused."""
    breaker = opened()

    assert breaker.state(10.0) is State.HALF_OPEN
    assert admitted(breaker, 10.0).probe
    assert refused(breaker, 11.0) == Refusal("probing", 4.0)


def test_a_good_probe_closes_and_a_bad_one_doubles_the_cooldown() -> None:
    """10 s, 20 s, 40 s, and no more than the cap."""
    breaker, now = opened(), 0.0

    for cooldown in (10.0, 20.0, 40.0, 40.0):
        assert breaker.state(now + cooldown - 0.01) is State.OPEN
        now += cooldown
        breaker.record(admitted(breaker, now), "failed", now)
    breaker.record(admitted(breaker, now + 40.0), "ok", now + 40.0)

    assert breaker.state(now + 40.0) is State.CLOSED


def test_a_flapping_backend_keeps_its_long_cooldown_and_a_calm_one_starts_afresh() -> None:
    """Opening again within a cooldown of closing doubles; after a calm stretch it does not."""
    flapping, calm = opened(), opened()
    for breaker in (flapping, calm):
        breaker.record(admitted(breaker, 10.0), "ok", 10.0)

    fail(flapping, 5, now=19.0)
    fail(calm, 5, now=21.0)

    assert refused(flapping, 19.0).retry_after == 20.0
    assert refused(calm, 21.0).retry_after == 10.0


def test_jitter_only_adds() -> None:
    """Nobody comes back before the configured cooldown, and not all at once."""
    rng, spans = Random(7), []

    for _ in range(50):
        breaker = Breaker(Rules(cooldown=100.0, jitter=0.1), rng)
        fail(breaker, 5)
        spans.append(refused(breaker, 0.0).retry_after)

    assert min(spans) >= 100.0
    assert max(spans) <= 110.0
    assert len(set(spans)) > 40


def test_a_hung_probe_loses_its_lease_and_opens_again() -> None:
    """The cooldown after it counts from the end of the lease, and its late success is ignored."""
    breaker = opened()
    hung = admitted(breaker, 10.0)

    assert breaker.state(15.0) is State.OPEN
    assert refused(breaker, 16.0) == Refusal("open", 19.0)
    breaker.record(hung, "ok", 16.0)
    assert breaker.state(16.0) is State.OPEN


def test_a_cancelled_probe_makes_room_for_the_next() -> None:
    """A probe that ends neutrally proves nothing and blocks nothing."""
    breaker = opened()

    breaker.record(admitted(breaker, 10.0), "neutral", 11.0)

    assert admitted(breaker, 11.0).probe


def test_late_results_of_an_older_generation_are_ignored() -> None:
    """Calls that began before the breaker opened neither close nor fail what came after."""
    breaker = a_breaker()
    early = [admitted(breaker, 0.0) for _ in range(20)]
    fail(breaker, 5)
    probe = admitted(breaker, 10.0)

    for permit in early[:10]:
        breaker.record(permit, "ok", 10.5)
    still = breaker.state(10.5)
    breaker.record(probe, "ok", 11.0)
    for permit in early[10:]:
        breaker.record(permit, "failed", 11.0)

    assert (still, breaker.state(11.0)) == (State.HALF_OPEN, State.CLOSED)


def test_a_forced_call_goes_through_and_its_success_closes() -> None:
    """Who has nobody else to ask may ask an open one; a failure changes nothing, a success closes."""
    breaker = opened()

    breaker.record(admitted(breaker, 1.0, force=True), "failed", 1.0)
    assert refused(breaker, 1.0) == Refusal("open", 9.0)

    breaker.record(admitted(breaker, 2.0, force=True), "ok", 2.0)
    assert breaker.state(2.0) is State.CLOSED


def test_force_admits_beside_a_probe() -> None:
    """A probe in flight does not darken the last provider."""
    breaker = opened()
    admitted(breaker, 10.0)

    assert admitted(breaker, 10.0, force=True).forced


def test_resting_backs_off_without_tripping_and_cannot_be_forced() -> None:
    """Retry-After is kept, the state stays closed, and the wait ends by itself."""
    breaker = a_breaker()

    breaker.back_off(3.0, 0.0)
    breaker.back_off(1.0, 0.0)

    assert refused(breaker, 1.0, force=True) == Refusal("backoff", 2.0)
    assert breaker.state(1.0) is State.CLOSED
    assert admitted(breaker, 3.0)


def test_an_absurd_retry_after_is_believed_up_to_the_longest_cooldown() -> None:
    """A backend cannot take itself out for a year."""
    breaker = a_breaker()

    breaker.back_off(31_536_000.0, 0.0)

    assert refused(breaker, 0.0).retry_after == 40.0


def test_looking_takes_nothing() -> None:
    """``refusal`` and ``state`` leave the probe's place free."""
    breaker = opened()

    assert breaker.refusal(10.0) is None
    assert breaker.state(10.0) is State.HALF_OPEN
    assert admitted(breaker, 10.0).probe


def test_repr_tells_the_state_and_the_failures() -> None:
    """For logs and failed tests."""
    breaker = a_breaker()
    fail(breaker, 2)

    assert repr(breaker) == "<Breaker [closed | 2 of 2 failed]>"

"""The last hour by the minute: counted right, and bounded."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.errors import DeadlineExceeded
from llm_pool.core.events import AttemptEnded, RequestAnswered, RequestFailed
from llm_pool.core.messages import Answer, Attempt, Query, Usage
from llm_pool.telemetry.last_hour import BUCKETS, GROWTH, MINUTES, SHORTEST, WINNERS, Durations, LastHour
from llm_pool.testing import an_answer

NOON = 1_764_072_000.0  # a whole minute


class Wall:
    """Unix seconds that a test sets."""

    def __init__(self) -> None:
        self.unix = NOON

    def __call__(self) -> float:
        return self.unix


def answered(hour: LastHour, **changes: object) -> None:
    answer: Answer = msgspec.structs.replace(an_answer(), **changes)
    hour.on(RequestAnswered(Query(prompt=""), answer))


def attempted(hour: LastHour, **changes: object) -> None:
    attempt = Attempt(provider="a", model="m", outcome="ok", started=0.0, duration=3.0, ttft=1.0)
    hour.on(AttemptEnded("r", "ask", msgspec.structs.replace(attempt, **changes)))


def test_a_minute_counts_what_ended_in_it() -> None:
    """Requests, their percentiles, what calls cost and how fast they wrote, and who won."""
    wall = Wall()
    hour = LastHour(wall)

    answered(hour, duration=0.5, winner="a")
    answered(hour, duration=0.5, winner="a")
    answered(hour, duration=4.0, winner="b")
    answered(hour, duration=0.001, winner="b", from_cache=True)
    hour.on(RequestFailed(Query(prompt=""), DeadlineExceeded(1.0), 1.0))
    attempted(hour, usage=Usage(10, 21))
    attempted(hour, usage=Usage(10, 5), outcome="cancelled", ttft=None)
    wall.unix += 60
    *_, before, now = hour.as_json()["minutes"]

    assert before["at"] == NOON
    assert (before["answered"], before["cached"], before["failed"]) == (3, 1, 1)
    assert before["p50_ms"] == pytest.approx(500, rel=0.06)
    assert before["p95_ms"] == pytest.approx(4000, rel=0.06)
    assert (before["prompt_tokens"], before["completion_tokens"]) == (20, 26)
    assert before["tokens_per_second"] == 10.0
    assert before["wins"] == {"a": 2, "b": 1}
    assert (now["answered"], now["p50_ms"], now["tokens_per_second"], now["wins"]) == (0, None, None, {})


def test_it_is_an_hour_whatever_happens() -> None:
    """Gaps are there as minutes in which nothing happened; what is older is gone."""
    wall = Wall()
    hour = LastHour(wall)
    for _ in range(100):
        answered(hour)
        wall.unix += 120

    minutes = hour.as_json()["minutes"]

    assert [minute["at"] for minute in minutes] == [wall.unix - 60 * back for back in reversed(range(MINUTES))]
    assert sum(minute["answered"] for minute in minutes) == MINUTES // 2 - 1 + (minutes[0]["answered"])


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    wall = Wall()
    hour = LastHour(wall)
    answered(hour)
    wall.unix -= 600
    answered(hour)
    wall.unix += 600

    assert hour.as_json()["minutes"][-1]["answered"] == 2


def test_winners_are_bounded() -> None:
    """Names come from configurations, and there may be many in a daemon's life."""
    hour = LastHour(Wall())
    for number in range(1000):
        answered(hour, winner=f"provider {number}")

    wins = hour.as_json()["minutes"][-1]["wins"]
    assert len(wins) == WINNERS + 1
    assert wins["other"] == 1000 - WINNERS


@given(st.lists(st.floats(0.001, 900), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_right_to_five_percent(seconds: list[float], q: float) -> None:
    durations = Durations()
    for each in seconds:
        durations.add(each)
    exact = sorted(seconds)[math.ceil(q * len(seconds)) - 1]

    assert durations.quantile(q) == pytest.approx(exact, rel=0.051)


@given(st.floats(0, 1e12))
def test_any_duration_has_a_bucket(seconds: float) -> None:
    """The longest ones share the last."""
    durations = Durations()
    durations.add(seconds)

    found = durations.quantile(0.5)
    assert found is not None
    assert SHORTEST <= found <= SHORTEST * GROWTH**BUCKETS

"""How far things are, for people."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.cli import progress
from llm_pool.cli.console import Console
from llm_pool.cli.explain import timeline
from llm_pool.cli.progress import Progress, amount, bar, format_duration
from llm_pool.core.messages import Attempt


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_share_speed_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier pull left is done, but is no speed: 50 of the 100 MB that are missing, in 10 s."""
    monkeypatch.setenv("TERM", "xterm")
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    screen = Screen()

    with Progress(Console(stderr=screen), "pulling phi3", unit=amount) as pulling:
        pulling.update(100e6, 200e6)
        now[0] += 10
        pulling.update(150e6, 200e6)

    last = screen.getvalue().split("\r")[-2]
    assert last == f"pulling phi3  {bar(0.75)}  150.0 MB of 200.0 MB  5.0 MB/s  10 s left\x1b[K"
    assert screen.getvalue().endswith("\r\x1b[K")


def test_off_a_terminal_there_is_one_line_and_nothing_moves() -> None:
    log = io.StringIO()
    with Progress(Console(stderr=log), "answering 3 lines") as answering:
        answering.update(1, 3)
        answering.note("still")
    assert log.getvalue() == "answering 3 lines …\n"


@given(st.floats(-1, 2), st.integers(1, 80))
def test_a_bar_is_as_wide_as_asked(share: float, width: int) -> None:
    assert len(bar(share, width)) == width


def test_bars_fill_from_the_left() -> None:
    assert [bar(share, 4) for share in (0.0, 0.25, 0.3125, 1.0)] == ["░░░░", "█░░░", "█▎░░", "████"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (8, "8 s"), (99, "99 s"), (180, "3 min"), (7500, "2 h 05 min")]
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (4_700_000_000, "4.7 GB"), (2.5e13, "25.0 TB")]
)
def test_amounts_in_words(size: float, words: str) -> None:
    assert amount(size) == words


@given(st.floats(0, 50), st.floats(0, 50), st.none() | st.floats(0, 50), st.floats(0, 100))
def test_a_timeline_is_as_wide_as_asked_whatever_the_times(
    started: float, duration: float, ttft: float | None, end: float
) -> None:
    attempt = Attempt(provider="p", model="m", outcome="ok", started=started, duration=duration, ttft=ttft)
    assert len(timeline(attempt, max(end, started + duration), 32)) == 32

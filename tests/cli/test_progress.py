"""How far things are, for people."""

from __future__ import annotations

import io
import time

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.cli.console import Console
from llm_pool.cli.explain import timeline
from llm_pool.cli.progress import Progress, StatusLine, amount, format_duration
from llm_pool.core.messages import Attempt


class Screen(io.StringIO):
    """A terminal of 80 columns, as a person sees it."""

    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        screen = pyte.Screen(80, 10)
        pyte.Stream(screen).feed(self.getvalue().replace("\n", "\r\n"))
        return [line.rstrip() for line in screen.display if line.strip()]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return Screen()


def test_a_terminal_sees_share_amount_and_time_left_and_then_nothing(screen: Screen) -> None:
    """What an earlier pull left is done, but is no speed."""
    with Progress(Console(stderr=screen), "pulling phi3", unit=amount) as pulling:
        for done in range(100, 151, 10):
            pulling.update(done * 1e6, 200e6)
            time.sleep(0.05)
        time.sleep(0.2)
        (line,) = screen.shown()

    assert line.startswith("pulling phi3 ━━━━━━━━━━━━━━━")
    assert "150.0 MB of 200.0 MB" in line
    assert "0:00:0" in line
    assert screen.shown() == []


def test_a_name_of_strangers_has_no_power_over_the_line(screen: Screen) -> None:
    with Progress(Console(stderr=screen), "pulling \x1b]0;owned\x07[red]") as pulling:
        pulling.update(1, 2)
        time.sleep(0.2)
        shown = screen.shown()[0]

    assert "\x1b]0" not in screen.getvalue()
    assert "\\x1b]0;owned\\x07[red]" in shown


def test_off_a_terminal_there_is_one_line_and_nothing_moves() -> None:
    log = io.StringIO()
    with Progress(Console(stderr=log), "answering 3 lines") as answering:
        answering.update(1, 3)
        answering.note("still")
    assert log.getvalue() == "answering 3 lines …\n"


def test_a_status_says_what_is_waited_for_and_goes_away(screen: Screen) -> None:
    status = StatusLine(Console(stderr=screen))
    lines = []
    for name in ("[phi3]", "gemma2"):
        status.show(f"loading {name} …")
        time.sleep(0.2)
        lines += screen.shown()
    status.clear()
    status.clear()

    assert [line.partition(" ")[2] for line in lines] == ["loading [phi3] …", "loading gemma2 …"]
    assert screen.shown() == []


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

"""How an answer reaches stdout, and what of it a terminal is spared."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.cli.console import Console, escaped
from llm_pool.cli.printing import TextPrinter
from llm_pool.core.events import TextArrived
from llm_pool.testing import an_answer


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


EVIL = "\x1b]0;owned\x07 and \x1b[2J\x9b31mgone\r\n\ttab"


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (Screen(), "\\x1b]0;owned\\x07 and \\x1b[2J\\x9b31mgone\\x0d\n\ttab"),
        (io.StringIO(), EVIL),
    ],
)
def test_a_model_has_no_power_over_a_terminal(stream: io.StringIO, shown: str) -> None:
    """Escape sequences become visible on a terminal; a pipe gets the text as it is."""
    printer = TextPrinter(Console(stdout=stream), stream=True)

    printer.on(TextArrived("r", "p", EVIL, committed=True))

    assert stream.getvalue() == shown


def test_text_of_a_racer_that_may_lose_is_not_printed() -> None:
    """Only a committed stream is the answer's own."""
    out = io.StringIO()
    printer = TextPrinter(Console(stdout=out), stream=True)

    printer.on(TextArrived("r", "p", "perhaps"))

    assert out.getvalue() == ""


def test_reasoning_that_was_streamed_as_text_is_told_from_the_answer() -> None:
    """A closing tag came when it was printed: what is on the screen cannot be taken back, and is named."""
    out, err = Screen(), io.StringIO()
    printer = TextPrinter(Console(stdout=out, stderr=err), stream=True)

    printer.on(TextArrived("r", "p", "Let me see.", committed=True))
    printer.finish(an_answer("Yes."))

    assert out.getvalue() == "Let me see.\nYes.\n"
    assert "was reasoning; the answer is below" in err.getvalue()


@given(st.text())
def test_neutral_text_has_no_control_characters_but_tab_and_newline(text: str) -> None:
    assert all(char in "\n\t" or not (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0) for char in escaped(text))

"""How an answer reaches stdout, and what of it a terminal is spared."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path
from unicodedata import bidirectional, category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from llm_pool.cli.console import Console, escaped
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.printing import TextPrinter
from llm_pool.core.errors import LlmPoolError
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
def test_escaped_text_has_no_power_over_a_terminal(text: str) -> None:
    """No control but tab and newline, and nothing that reorders what is shown; the rest is as it was."""
    shown = escaped(text)

    assert all(char in "\n\t" or category(char) != "Cc" for char in shown)
    assert not any(
        bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} for char in shown
    )
    if all(category(char) not in {"Cc", "Cf", "Zl", "Zp"} for char in text):
        assert shown == text


@given(st.dictionaries(st.text(), st.text()))
def test_json_on_a_terminal_is_the_same_value(value: dict[str, str]) -> None:
    """Written with JSON's own escapes, so that what is copied from the screen parses."""
    screen = Screen()
    Console(stdout=screen, color="never").json(value)
    Console(stdout=screen, color="never").line(value)

    text = screen.getvalue()
    assert text == escaped(text)
    split = text.rindex("\n{")
    assert json.loads(text[:split]) == json.loads(text[split:]) == value


def test_everything_that_goes_to_a_terminal_is_cleaned() -> None:
    """Whoever prints it: our own colours are added behind the cleaner."""
    out, err = Screen(), Screen()
    console = Console(stdout=out, stderr=err, color="always")

    console.show(Text.assemble(("model", "red"), " ", EVIL))
    console.show(Panel(Table.grid(EVIL, padding=1), title=EVIL), err=True)
    console.show(Markdown(f"# {EVIL}\n\n```\n{EVIL}\n```"), err=True)
    console.say(EVIL)
    console.error(LlmPoolError(EVIL, hint=EVIL), 1)

    assert out.getvalue().startswith("\x1b[31mmodel\x1b[0m \\x1b]0;owned")
    for text in (out.getvalue(), err.getvalue()):
        ours = re.sub(r"\x1b\[[0-9;]*m", "", text)
        assert not set(ours) & set("\x1b\x07\x9b\r")


def test_a_full_disk_is_named_as_what_it_is(command: list[str]) -> None:
    """Not as a bug of ours."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        done = subprocess.run([*command, "config", "path"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == ExitCode.OUTPUT
    assert "no space left on device" in done.stderr

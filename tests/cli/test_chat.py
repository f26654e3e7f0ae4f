"""``llm-pool chat``: turns, commands, Markdown as it comes, and the file that keeps the last conversation."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.cli import conversation as rules
from llm_pool.cli.console import Console
from llm_pool.cli.conversation import Conversation, conversation_path, load_conversation
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.markdown import Blocks, MarkdownStream

if TYPE_CHECKING:
    import subprocess

Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.usefixtures("config")


def test_each_answer_goes_to_stdout_and_the_conversation_goes_on(llm_pool: Run) -> None:
    """Mistakes and commands in between end nothing; without a terminal there is no prompt."""
    lines = ["one", "", "/model phi3:mini", "two", "/nope", "/strategy fastets", "/why", "/quit", "never"]
    done = llm_pool("chat", stdin="\n".join(lines))

    assert (done.returncode, done.stdout) == (0, "phi3:mini heard: one\nphi3:mini heard: two\n")
    assert "asked: phi3\n" in done.stderr
    assert "error: /nope: there is no such command" in done.stderr
    assert "hint: did you mean FASTEST?" in done.stderr
    assert "★ phi3 primary" in done.stderr
    kept = load_conversation(conversation_path())
    assert kept is not None
    assert [turn.text for turn in kept.turns] == ["one", "phi3:mini heard: one", "two", "phi3:mini heard: two"]
    assert conversation_path().stat().st_mode & 0o777 == 0o600


def test_a_conversation_is_gone_on_with_and_saved(llm_pool: Run) -> None:
    llm_pool("chat", stdin="one\n")
    done = llm_pool("chat", "--continue", stdin="/retry\ntwo\n/save talk.md\n/save talk.md\n/save\n")

    assert "1 question so far" in done.stderr
    assert done.stdout.splitlines()[-1] == "phi3:mini heard: two"
    text = Path("talk.md").read_text(encoding="utf-8")
    assert text.count("**You:**") == 2
    assert "**Pool:**\n\nphi3:mini heard: two\n" in text
    assert "error: /save: talk.md cannot be written: file exists" in done.stderr
    assert "error: /save: it takes the name of a file" in done.stderr

    llm_pool("chat", stdin="/new\nthree\n")
    assert "there is no conversation" in llm_pool("chat", "--continue", LLM_POOL_STATE="elsewhere").stderr
    begun = load_conversation(conversation_path())
    assert begun is not None
    assert [turn.text for turn in begun.turns] == ["three", "phi3:mini heard: three"]


def test_what_goes_wrong_is_told_and_the_question_is_forgotten(config: Path, llm_pool: Run) -> None:
    text = config.read_text(encoding="utf-8")
    config.write_text(re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:1", text), encoding="utf-8")
    done = llm_pool("chat", stdin="one\n/retry\n")

    assert (done.returncode, done.stdout) == (0, "")
    assert "no provider could answer" in done.stderr
    assert "error: /retry: nothing was asked yet" in done.stderr


def test_ctrl_d_leaves(terminal: Any) -> None:
    screen = terminal("chat")
    screen.wait_for("> ")
    screen.type("\x04")
    assert screen.end() == ExitCode.OK


def test_on_a_terminal_markdown_is_drawn(terminal: Any) -> None:
    screen = terminal("chat", "--provider", "phi3")
    screen.wait_for("> ")
    screen.type("hello **you**\r")
    screen.wait_for("\x1b[1myou\x1b[0m")
    screen.type("/quit\r")

    assert screen.end() == ExitCode.OK
    assert any(line == "phi3:mini heard: hello you" for line in screen.shown())


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=8), st.text(max_size=20))
def test_a_question_takes_along_what_fits(said: list[tuple[str, str]], text: str) -> None:
    """The newest turns in pairs; what is left out is counted, and with what is sent it is all of them."""
    talk = Conversation(system="be brief")
    for question, answer in said:
        talk.add(question, answer)

    query, left_out = talk.question(text, 100)

    sent = [turn for turn in query.turns if turn.role != "system"]
    assert [*talk.turns[:left_out], *sent] == talk.turns
    assert left_out % 2 == 0
    size = sum(len(part.encode()) for part in (text, *(turn.text for turn in query.turns)))
    assert size <= max(100, len(text.encode()) + len("be brief"))


def test_of_a_long_conversation_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_BYTES", 50)
    talk = Conversation()
    for number in range(20):
        talk.add(f"question {number}", f"answer {number}")
    talk.save(tmp_path / "chat.json")

    kept = load_conversation(tmp_path / "chat.json")
    assert kept is not None
    assert kept.turns == talk.turns[-4:]
    assert len(talk.turns) == 40


@pytest.mark.parametrize("text", ["", "[", '{"turns": [{"role": "user", "text": "half"}]}', '{"turns": 1}'])
def test_a_file_that_cannot_be_read_is_no_conversation(text: str, tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(text, encoding="utf-8")
    assert load_conversation(tmp_path / "chat.json") is None


TEXT = "# A\n\none\n\n```py\nx\n\ny\n```\n\n~~~~\n```\n\n~~~\n~~~~\n\nend"


@given(st.lists(st.integers(1, len(TEXT)), max_size=12))
def test_blocks_end_at_blank_lines_outside_of_code_however_the_text_comes(cuts: list[int]) -> None:
    blocks, finished, before = Blocks(), "", 0
    for cut in [*sorted(cuts), len(TEXT)]:
        finished += blocks.feed(TEXT[before:cut])
        before = cut

    assert finished + blocks.rest == TEXT
    assert blocks.rest == "end"


def test_an_answer_drawn_as_it_comes_is_all_there_in_the_end_and_has_no_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than the screen, with an escape sequence and a link in it."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    out = _Screen()
    stream = MarkdownStream(Console(stdout=out, color="always"))
    text = "\n\n".join(f"Paragraph {number} **bold**" for number in range(30))
    for piece in (text[:100], text[100:], "\n\n\x1b]0;owned\x07 [here](http://x/\x1b[2J)"):
        stream.feed(piece)
    stream.finish()

    screen = pyte.Screen(60, 200)
    pyte.Stream(screen).feed(out.getvalue().replace("\n", "\r\n"))
    shown = [line.strip() for line in screen.display if line.strip()]
    assert shown[:30] == [f"Paragraph {number} bold" for number in range(30)]
    assert "\x1b]" not in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True

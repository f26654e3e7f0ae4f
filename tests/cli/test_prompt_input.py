"""Where prompts and lines come from."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import pytest

from llm_pool.cli import prompt_input
from llm_pool.cli.prompt_input import UndecodableInput, gather_prompt, lines_of
from llm_pool.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Stdin is a pipe; the end to write to."""
    out, into = os.pipe()
    with io.TextIOWrapper(os.fdopen(out, "rb")) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        yield into


def test_a_sender_that_takes_its_time_is_waited_for_with_a_word(pipe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody should wonder why nothing happens."""
    monkeypatch.setattr(prompt_input, "NOTICE_AFTER", 0.05)
    said: list[str] = []

    def send() -> None:
        os.write(pipe, b"late\n")
        os.close(pipe)

    timer = threading.Timer(0.2, send)
    timer.start()

    assert gather_prompt("Sum it up.", read_stdin=True, say=said.append) == "late\nSum it up."
    assert said == ["waiting for stdin (Ctrl-D ends it; --no-stdin ignores it)"]
    timer.join()


def test_no_stdin_leaves_an_open_pipe_alone(pipe: int) -> None:
    """For cron and CI, where stdin never ends."""
    assert gather_prompt("hello", read_stdin=False, say=print) == "hello"
    os.close(pipe)


def test_nothing_piped_and_nothing_typed_is_told(pipe: int) -> None:
    os.close(pipe)
    with pytest.raises(InvalidRequest, match="prompt: there is none"):
        gather_prompt(None, read_stdin=True, say=print)


def test_lines_keep_their_number_and_blank_ones_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'"a"\n\n  \n"b"')
    assert list(lines_of(path)) == [(1, '"a"'), (4, '"b"')]


def test_a_line_that_is_no_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'"a"\n"\xff"\n')
    with pytest.raises(UndecodableInput, match=r"line 2: invalid UTF-8 at byte 1 \(0xff\)"):
        list(lines_of(path))

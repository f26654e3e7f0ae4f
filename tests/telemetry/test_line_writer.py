from __future__ import annotations

import logging
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.telemetry import line_writer
from llm_pool.telemetry.line_writer import WHOLE, LineWriter, batches
from llm_pool.telemetry.logs import LineHandler


class Reader:
    """Takes what is written; while *stuck* is set, nothing."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.reads = threading.Event()
        self.reads.set()

    def write(self, lines: bytes) -> None:
        self.reads.wait()
        self.writes.append(lines)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def writer_to(reader: Reader) -> LineWriter:
    return LineWriter(reader.write, lambda count: b"%d dropped\n" % count)


def test_every_line_is_written_once_and_in_order(reader: Reader) -> None:
    """In far fewer writes than lines."""
    writer = writer_to(reader)
    lines = [b"%d\n" % at for at in range(5000)]

    for line in lines:
        writer.put(line)
    writer.close()

    assert b"".join(reader.writes) == b"".join(lines)
    assert len(reader.writes) < 100


def test_a_line_after_a_pause_is_written_at_once(reader: Reader) -> None:
    """And so is an error right after it."""
    writer = writer_to(reader)
    writer.put(b"first\n")
    began = time.monotonic()
    writer.put(b"error\n", at_once=True)

    while len(b"".join(reader.writes)) < 12:
        assert time.monotonic() < began + 5
        time.sleep(0.001)

    assert time.monotonic() - began < line_writer.PAUSE * 0.9
    writer.close()


def test_who_reads_too_slowly_costs_bounded_memory_and_no_time(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """It learns how much is missing."""
    monkeypatch.setattr(line_writer, "LIMIT", 1000)
    writer = writer_to(reader)
    reader.reads.clear()
    began = time.monotonic()

    for _ in range(10_000):
        writer.put(b"123456789\n")
    took = time.monotonic() - began
    reader.reads.set()
    writer.close()

    lines = b"".join(reader.writes).splitlines()
    kept = lines.count(b"123456789")
    assert took < 1
    assert kept <= 200
    assert sum(int(line.split()[0]) for line in lines if line.endswith(b"dropped")) == 10_000 - kept


def test_a_flush_does_not_wait_for_ever(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads: the end of the process does not hang on it."""
    monkeypatch.setattr(line_writer, "FLUSH_TIME", 0.05)
    writer = writer_to(reader)
    reader.reads.clear()
    writer.put(b"lost\n")
    began = time.monotonic()

    writer.close()

    assert time.monotonic() - began < 1
    reader.reads.set()


def test_a_reader_that_is_gone_stops_nobody(reader: Reader) -> None:
    """What comes after it is written where it can be."""

    def gone(_lines: bytes) -> None:
        raise BrokenPipeError

    writer = LineWriter(gone, lambda _: b"")
    writer.put(b"lost\n")
    writer.flush()
    writer.put(b"lost\n")
    writer.close()


@given(st.lists(st.integers(1, 9000).map(lambda size: b"x" * (size - 1) + b"\n")))
def test_a_pipe_that_others_write_to_gets_whole_lines(lines: list[bytes]) -> None:
    """Each piece is one that the kernel does not part, or a single line."""
    pieces = list(batches(lines))

    assert b"".join(pieces) == b"".join(lines)
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert all(len(piece) <= WHOLE or piece.count(b"\n") == 1 for piece in pieces)


def test_a_pipe_that_is_full_is_waited_for() -> None:
    """Also one that somebody made non-blocking."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(writing, "w", encoding="utf-8") as stream, os.fdopen(reading, "rb") as reader:
        handler = LineHandler(stream, logging.Formatter("%(message)s"))
        for number in range(3000):
            handler.emit(logging.makeLogRecord({"msg": f"{number:099d}", "levelno": logging.INFO}))
        read = [reader.readline() for _ in range(3000)]
        handler.close()

    assert [int(line) for line in read] == list(range(3000))

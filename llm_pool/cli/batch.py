"""``infer --input``: many questions, answers in their order, and no finished line lost."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.batch_input import BatchLine, Shard, batch_lines, count_lines
from llm_pool.cli.batch_output import ConsoleSink, file_sink
from llm_pool.cli.exit_codes import DegradedAnswer, ExitCode, exit_code_for
from llm_pool.cli.progress import Progress
from llm_pool.core.errors import InvalidRequest, LlmPoolError
from llm_pool.core.threads import in_daemon_thread
from llm_pool.engine import parse_strategy, parse_think
from llm_pool.wire.json import answer_json, error_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.cli.batch_input import Numbered
    from llm_pool.cli.batch_output import Sink
    from llm_pool.cli.console import Console
    from llm_pool.cli.remote import Inferrer
    from llm_pool.core.messages import Json, Query

_READ_AT_ONCE = 64
"""Lines of a file that are read at once: a thread each would cost more than the reading."""
_AHEAD = 16
"""Lines per asker that may be finished before one ahead of them is: their answers wait in memory."""


class BatchFiles(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where questions come from, and where answers go.

    Attributes:
        input: a file, or ``-`` for stdin; None: this is no batch.
        output: None for stdout.
        template: of CSV, the prompt with ``{{column}}`` in it.
        shard: ``(2, 8)`` for the second of eight parts; None: all lines.
    """

    input: str | None
    output: Path | None
    template: str | None
    resume: bool
    retry_failed: bool
    shard: tuple[int, int] | None

    def check(self) -> None:
        """Raise InvalidRequest where one option is given without the other that it needs."""
        needs = {
            "--template": (self.template, "--input", self.input),
            "--output": (self.output, "--input", self.input),
            "--shard": (self.shard, "--input", self.input),
            "--resume": (self.resume, "--output", self.output),
            "--retry-failed": (self.retry_failed, "--resume", self.resume),
        }
        for name, (value, other, its_value) in needs.items():
            if value and not its_value:
                raise InvalidRequest(name, f"it goes with {other}")


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    How many questions are asked.

    Attributes:
        template: what a line that says nothing else asks for.
        concurrency: lines under way at once.
        total: how many there are, where that is known.
        strict: a degraded answer counts as a failed line.
        at_once: lines that are read at once: one of a pipe, which may keep the next one back.
    """

    template: Query
    concurrency: int
    shard: Shard
    total: int | None = None
    strict: bool = False
    at_once: int = 1


async def answer_files(
    files: BatchFiles, template: Query, pool: Inferrer, console: Console, *, concurrency: int, strict: bool
) -> int:
    """Answer what *files* say, with *template* for what a line leaves out; raises what reading and writing do."""
    assert files.input is not None
    count = await asyncio.to_thread(count_lines, files.input)
    options = BatchOptions(
        template=template,
        concurrency=concurrency,
        shard=Shard(*files.shard) if files.shard is not None else Shard(),
        total=count if files.shard is None else None,
        strict=strict,
        at_once=_READ_AT_ONCE if await asyncio.to_thread(Path(files.input).is_file) else 1,
    )
    lines = batch_lines(files.input, files.template)
    if files.output is None:
        return await answer_lines(options, lines, ConsoleSink(console), pool, console)
    with file_sink(files.output, resume=files.resume, retry_failed=files.retry_failed) as sink:
        return await answer_lines(options, lines, sink, pool, console)


async def answer_lines(
    options: BatchOptions, lines: Iterator[Numbered], sink: Sink, pool: Inferrer, console: Console
) -> int:
    """
    Answer each of *lines* that *sink* has not yet, writing one JSON object a line, in the order of the input.

    Lines are read as they are needed, so memory does not grow with their number.

    Returns:
        PARTIAL if some lines failed; if all did, the exit code of the first.
    """
    tally = _Tally()
    label = "answering lines" if options.total is None else f"answering {options.total} lines"
    with Progress(console, label) as progress:
        printed = _OrderedPrinter(sink, progress)
        room = asyncio.Semaphore(options.concurrency * _AHEAD)
        reading = asyncio.Lock()
        begun = skipped = 0
        ahead: deque[Numbered] = deque()
        progress.update(0, options.total)

        async def next_line() -> tuple[int, Numbered] | None:
            nonlocal begun, skipped
            async with reading:  # a pipe may say nothing for hours: Ctrl-C does not wait with it
                while True:
                    if not ahead:
                        read = in_daemon_thread(lambda: [*islice(lines, options.at_once)], "read the input")
                        ahead.extend(await read)
                    if not ahead:
                        return None
                    line = ahead.popleft()
                    if line[0] in sink.done:
                        skipped += 1
                    elif options.shard.has(line[0]):
                        begun += 1
                        return begun - 1, line

        async def asker() -> None:
            while True:
                await room.acquire()
                found = await next_line()
                if found is None:
                    return
                index, (number, line) = found
                result, code = await _one(options, number, line, pool)
                tally.add(index, code, degraded=bool(result.get("degraded")))
                for _ in range(printed.add(index, result)):
                    room.release()
                progress.update(tally.count + skipped, options.total)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(options.concurrency):
                    group.create_task(asker())
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        finally:
            printed.flush()
    before = f", {skipped} were there" if skipped else ""
    console.say(f"{tally.count - tally.failed} answered, {tally.failed} failed{before}")
    if tally.degraded:
        console.warn(f"note: degraded: {tally.degraded} of the answers; the decision of each says why")
    if not tally.failed:
        return ExitCode.OK
    return tally.first if tally.failed == tally.count else ExitCode.PARTIAL


class _Tally:
    """How the lines ended; *first*: the code of the first that failed, in the order of the input."""

    def __init__(self) -> None:
        self.count = self.failed = self.degraded = 0
        self._first: tuple[int, ExitCode] | None = None

    def add(self, index: int, code: ExitCode, *, degraded: bool) -> None:
        self.count += 1
        self.degraded += degraded
        if code is not ExitCode.OK:
            self.failed += 1
            self._first = min(self._first or (index, code), (index, code))

    @property
    def first(self) -> ExitCode:
        return ExitCode.OK if self._first is None else self._first[1]


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _one(
    options: BatchOptions, number: int, line: BatchLine | LlmPoolError, pool: Inferrer
) -> tuple[dict[str, Json], ExitCode]:
    try:
        if isinstance(line, LlmPoolError):
            raise line
        answer = await pool.infer(_query(options.template, line))
        if options.strict and answer.degraded:
            raise DegradedAnswer(answer.decision.degraded_reason)
    except LlmPoolError as error:
        return {"line": number, **error_json(error, commands=True)}, exit_code_for(error)
    return {"line": number, **answer_json(answer)}, ExitCode.OK


def _query(template: Query, line: BatchLine) -> Query:
    prompt = line.prompt if isinstance(line.prompt, str) else msgspec.json.encode(line.prompt).decode()
    said: dict[str, object] = {"prompt": prompt}
    if line.strategy is not None:
        said["strategy"] = parse_strategy(line.strategy)
    if line.deadline_ms is not None:
        said["deadline"] = line.deadline_ms / 1000
    if line.think is not None:
        said["think"] = line.think if isinstance(line.think, bool) else parse_think(line.think)
    said |= {f: v for f in ("task", "request_id", "max_tokens") if (v := getattr(line, f)) is not None}
    return msgspec.structs.replace(template, **said)


class _OrderedPrinter:
    """Writes results in the order of their index, each as soon as those before it are out."""

    def __init__(self, sink: Sink, progress: Progress) -> None:
        self._sink, self._progress, self._next = sink, progress, 0
        self._waiting: dict[int, Json] = {}

    def add(self, index: int, result: Json) -> int:
        """Take a result; how many were written for it."""
        self._waiting[index] = result
        first = self._next
        if first in self._waiting:
            with self._progress.paused():
                while self._next in self._waiting:
                    self._sink.line(self._waiting.pop(self._next))
                    self._next += 1
        return self._next - first

    def flush(self) -> None:
        """Write what is finished though something before it is not: an interrupted run loses no answer."""
        with self._progress.paused():
            for index in sorted(self._waiting):
                self._sink.line(self._waiting.pop(index))

"""``infer --input``: many questions, answers in their order, and no finished line lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.exit_codes import DegradedAnswer, ExitCode, exit_code_for
from llm_pool.cli.progress import Progress
from llm_pool.cli.prompt_input import UndecodableInput
from llm_pool.core.errors import InvalidRequest, LlmPoolError
from llm_pool.engine import parse_strategy, parse_think
from llm_pool.wire.json import answer_json, error_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.console import Console
    from llm_pool.cli.remote import Inferrer
    from llm_pool.core.messages import Json, Query


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of input; what it leaves out comes from the command's options."""

    prompt: str | dict[str, object] | list[object]
    task: str | None = None
    strategy: str | None = None
    request_id: str | None = None
    max_tokens: int | None = None
    deadline_ms: float | None = None
    think: bool | str | None = None


async def answer_lines(
    template: Query,
    lines: Sequence[tuple[int, str]],
    pool: Inferrer,
    console: Console,
    *,
    concurrency: int,
    strict: bool = False,
) -> int:
    """
    Answer each of *lines*, printing one JSON object a line, in the order of the input.

    Args:
        template: what a line that says nothing else asks for.
        lines: numbered from 1.
        pool: answers them.
        console: where the answers go.
        concurrency: lines under way at once.
        strict: a degraded answer counts as a failed line.

    Returns:
        PARTIAL if some lines failed; if all did, the exit code of the first.
    """
    gate = asyncio.Semaphore(concurrency)
    codes: dict[int, ExitCode] = {}
    degraded: set[int] = set()

    async def answer(index: int, number: int, text: str) -> None:
        async with gate:
            result, code = await _one(template, number, text, pool, strict=strict)
        codes[index] = code
        if result.get("degraded"):
            degraded.add(index)
        printed.add(index, result)
        progress.update(len(codes), len(lines))

    with Progress(console, f"answering {len(lines)} lines") as progress:
        printed = _OrderedPrinter(console, progress)
        progress.update(0, len(lines))
        tasks = [asyncio.create_task(answer(index, *line)) for index, line in enumerate(lines)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            printed.flush()
    failed = [code for _, code in sorted(codes.items()) if code is not ExitCode.OK]
    console.say(f"{len(codes) - len(failed)} answered, {len(failed)} failed")
    if degraded:
        console.warn(f"note: degraded: {len(degraded)} of the answers; the decision of each says why")
    if not failed:
        return ExitCode.OK
    return failed[0] if len(failed) == len(codes) else ExitCode.PARTIAL


async def _one(
    template: Query, number: int, text: str, pool: Inferrer, *, strict: bool
) -> tuple[dict[str, Json], ExitCode]:
    try:
        answer = await pool.infer(_query(template, number, text))
        if strict and answer.degraded:
            raise DegradedAnswer(answer.decision.degraded_reason)
    except LlmPoolError as error:
        return {"line": number, **error_json(error)}, exit_code_for(error)
    return {"line": number, **answer_json(answer)}, ExitCode.OK


def _query(template: Query, number: int, text: str) -> Query:
    try:
        line = msgspec.json.decode(text, type=_Line | str)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"line {number}", str(error)) from None
    except msgspec.DecodeError as error:
        raise UndecodableInput(f"line {number}: not JSON: {error}", hint='a line is "text" or {"prompt": …}') from None
    if isinstance(line, str):
        return msgspec.structs.replace(template, prompt=line)
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
    """Prints results in the order of their index, each as soon as those before it are out."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress, self._next = console, progress, 0
        self._waiting: dict[int, Json] = {}

    def add(self, index: int, result: Json) -> None:
        self._waiting[index] = result
        if self._next in self._waiting:
            with self._progress.paused():
                while self._next in self._waiting:
                    self._console.line(self._waiting.pop(self._next))
                    self._next += 1

    def flush(self) -> None:
        """Print what is finished though something before it is not: an interrupted run loses no answer."""
        with self._progress.paused():
            for index in sorted(self._waiting):
                self._console.line(self._waiting.pop(index))

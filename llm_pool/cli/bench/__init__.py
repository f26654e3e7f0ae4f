"""``llm-pool bench``: a short load on each provider and strategy, and what came of it."""

from __future__ import annotations

import asyncio
from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.bench.figures import figures_json, parse_threshold, sum_up
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import add_config, add_output_options, read_config
from llm_pool.cli.parsing import Command, integer, number, time_span
from llm_pool.cli.progress import Progress
from llm_pool.cli.shell_completion import provider_names, strategy_names, task_names
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from llm_pool.cli.bench.figures import Figures, Threshold
    from llm_pool.cli.bench.load import Load
    from llm_pool.cli.bench.subjects import Subject
    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser
    from llm_pool.core.messages import Json

_REQUESTS = 20
_MOST = 1_000_000
_EXPORTS = (".svg", ".png", ".json")


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What ``bench`` was asked to do; *exports* are files, each written in the format of its name."""

    query: Query
    load: Load
    warmup: int
    thresholds: tuple[Threshold, ...]
    exports: tuple[Path, ...]
    as_json: bool


async def measure(options: BenchOptions, measured: Sequence[Subject], console: Console) -> list[Figures]:
    """The figures of each subject, one after the other."""
    return [
        await _measure(subject, options, Progress(console, f"{subject.name} ({index} of {len(measured)})"))
        for index, subject in enumerate(measured, start=1)
    ]


def conclude(options: BenchOptions, rows: Sequence[Figures], console: Console) -> int:
    """Print and export the figures; exit 99 if a threshold does not hold, 69 if there is not one answer."""
    report = _report(options, rows)
    if options.as_json:
        console.json(report)
    else:
        _print(options, rows, console)
    for path in options.exports:
        _export(path, options, rows, report)
        console.say(f"wrote {path}")
    failed = [
        f"{one.subject}: {threshold.text} does not hold: {threshold.found(one)}"
        for threshold in options.thresholds
        for one in rows
        if not threshold.holds(one)
    ]
    for line in failed:
        console.say(f"{console.paint('threshold:', 'red', console.stderr)} {line}")
    if failed:
        return ExitCode.THRESHOLD
    return ExitCode.OK if any(one.took for one in rows) else ExitCode.UNAVAILABLE


async def _measure(subject: Subject, options: BenchOptions, progress: Progress) -> Figures:
    from llm_pool.cli.bench.load import run_load
    from llm_pool.cli.bench.subjects import timed_request
    from llm_pool.engine import open_app

    load, total = options.load, options.load.total()
    async with open_app(subject.config) as pool:
        ask = timed_request(pool.orchestrator, msgspec.structs.replace(options.query, strategy=subject.strategy))
        with progress:
            for _ in range(options.warmup):
                progress.note("warming up")
                await ask(asyncio.get_running_loop().time())

            def done(count: int, elapsed: float) -> None:
                if total is None:
                    progress.update(min(elapsed, load.duration or elapsed), load.duration)
                else:
                    progress.update(count, total)

            done(0, 0.0)
            samples, elapsed = await run_load(load, ask, done)
    return sum_up(subject.name, samples, elapsed)


def _report(options: BenchOptions, rows: Sequence[Figures]) -> dict[str, Json]:
    load = options.load
    return {
        "task": options.query.task,
        "load": {
            "requests": load.requests,
            "duration_s": load.duration,
            "concurrency": load.concurrency if load.rate is None else None,
            "rate": load.rate,
            "warmup": options.warmup,
        },
        "subjects": [figures_json(one) for one in rows],
        "thresholds": [
            {"threshold": threshold.text, "subject": one.subject, "holds": threshold.holds(one)}
            for threshold in options.thresholds
            for one in rows
        ],
    }


def _print(options: BenchOptions, rows: Sequence[Figures], console: Console) -> None:
    from llm_pool.cli.bench.chart import bars, table

    console.out(console.paint(_title(options), "bold", console.stdout))
    lines = table(rows)
    console.out("\n".join([console.paint(lines[0], "dim", console.stdout), *lines[1:]]))
    console.out("\n" + "\n".join(bars(rows)))
    for one in rows:
        if one.codes:
            figures_text = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in one.codes.items())
            console.out(f"{one.subject}: {figures_text}")


def _export(path: Path, options: BenchOptions, rows: Sequence[Figures], report: dict[str, Json]) -> None:
    from llm_pool.cli.bench.chart import picture, svg

    if path.suffix == ".json":
        data = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    else:
        drawn = picture(_title(options), rows)
        if path.suffix == ".svg":
            data = svg(drawn).encode()
        else:
            from llm_pool.cli.bench.png import png

            data = png(drawn)
    try:
        path.write_bytes(data)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidRequest("--export", f"{path} cannot be written: {reason}") from None


def _title(options: BenchOptions) -> str:
    return f"{options.query.task}: milliseconds to the whole answer, {options.load.words()}"


def _run(args: Namespace, console: Console) -> int:
    from llm_pool.cli.bench.load import Load
    from llm_pool.cli.bench.subjects import INPUTS, subjects

    prompt = args.prompt or INPUTS.get(args.task)
    if prompt is None:
        raise InvalidRequest("prompt", f"there is none, and task '{args.task}' has no example of its own")
    requests = args.requests if args.requests or args.duration else _REQUESTS
    options = BenchOptions(
        query=Query(
            prompt=prompt,
            task=args.task,
            max_tokens=args.max_tokens,
            deadline=None if args.deadline_ms is None else args.deadline_ms / 1000,
            no_cache=True,
        ),
        load=Load(requests=requests, duration=args.duration, concurrency=args.concurrency, rate=args.rate),
        warmup=args.warmup,
        thresholds=tuple(args.threshold),
        exports=tuple(args.export),
        as_json=args.json,
    )
    measured = subjects(read_config(args.config, console), args.task, args.provider, args.strategy)
    return conclude(options, asyncio.run(measure(options, measured, console)), console)


def _arguments(parser: Parser) -> None:
    parser.argument("prompt", "what is asked; else an example of the task", optional=True)
    parser.option(*("-t", "--task"), metavar="TASK", text="a task's name", default="ask", complete=task_names)
    parser.option(
        "--provider",
        metavar="NAME",
        text="this one alone (repeat for more); else all that serve the task, and the task's own strategy",
        repeat=True,
        complete=provider_names,
    )
    parser.option(
        *("-s", "--strategy"),
        metavar="NAME",
        text="the pool under this one (repeat for more, or all)",
        repeat=True,
        complete=lambda: ("all", *strategy_names()),
    )
    parser.option(
        "-n",
        metavar="N",
        to="requests",
        text=f"requests to each; {_REQUESTS} unless --duration ends it",
        read=integer(1, _MOST),
    )
    parser.option("--duration", metavar="TIME", text="begin requests for so long, e.g. 30s", read=_positive_span)
    parser.option(
        "--concurrency", metavar="N", text="askers, each waiting for its answer", read=integer(1, 1024), default=1
    )
    parser.option(
        "--rate", metavar="R", text="instead: R requests a second, however slow the answers are", read=_positive
    )
    parser.option("--warmup", metavar="N", text="requests before, not measured", read=integer(0, _MOST), default=1)
    parser.option("--max-tokens", metavar="N", text="length of an answer at most", read=integer(1, _MOST))
    parser.option("--deadline-ms", metavar="MS", text="time for each answer; else the task's", read=_positive)
    parser.option(
        "--threshold",
        metavar="RULE",
        text="exit 99 if it does not hold, e.g. p95<900ms, ttft_p95<400ms, errors<1%, tps>20 (repeat for more)",
        read=_threshold,
        repeat=True,
    )
    parser.option(
        "--export",
        metavar="FILE",
        text="write it as .svg, .png or .json too (repeat for more)",
        read=_export_path,
        repeat=True,
    )
    add_config(parser)
    add_output_options(parser)


def _threshold(text: str) -> Threshold:
    try:
        return parse_threshold(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _export_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _EXPORTS:
        raise ArgumentTypeError(f"expected a name that ends in {', '.join(_EXPORTS)}, got '{text}'")
    if not path.parent.is_dir():
        raise ArgumentTypeError(f"there is no folder {path.parent}")
    return path


def _positive(text: str) -> float:
    value = number(text)
    if value <= 0:
        raise ArgumentTypeError(f"expected more than 0, got '{text}'")
    return value


def _positive_span(text: str) -> float:
    value = time_span(text)
    if value <= 0:
        raise ArgumentTypeError(f"expected more than 0, got '{text}'")
    return value


COMMAND = Command(
    "bench",
    "Put a short load on providers and strategies, and print how fast they answer.",
    (
        "llm-pool bench                                   # each provider that serves plain questions, and the pool",
        "llm-pool bench --task expand_queries --strategy fastest --strategy voting -n 50",
        "llm-pool bench --provider phi3 --rate 4 --duration 30s --threshold 'p95<900ms' --threshold 'errors<1%'",
        "llm-pool bench --strategy all --export bench.svg --export bench.json",
    ),
    _arguments,
    _run,
)

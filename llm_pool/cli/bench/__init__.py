"""``llm-pool bench``: a short load on each provider and strategy, and what came of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
from typer import Argument, BadParameter, Option

from llm_pool.cli.bench.figures import figures_json, parse_threshold, sum_up
from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import provider_names, strategy_names
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import MaxTokens, Task, read_config
from llm_pool.cli.progress import Progress
from llm_pool.cli.values import integer, more_than_zero, number, time_span
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.bench.figures import Figures, Threshold
    from llm_pool.cli.bench.load import Load
    from llm_pool.cli.bench.subjects import Subject
    from llm_pool.cli.console import Console
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
        console.say(f"threshold: {line}")
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
    from rich.text import Text

    from llm_pool.cli.bench.chart import bars, table
    from llm_pool.cli.drawing import text

    console.show(text(_title(options), "bold"))
    console.show(table(rows))
    console.show(bars(rows))
    for one in rows:
        if one.codes:
            figures_text = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in one.codes.items())
            console.show(Text.assemble(text(one.subject), ": ", text(figures_text)))


def _export(path: Path, options: BenchOptions, rows: Sequence[Figures], report: dict[str, Json]) -> None:
    if path.suffix == ".json":
        data = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    else:
        from llm_pool.cli.bench.picture import picture

        data = picture(_title(options), rows, path.suffix.removeprefix("."))
    try:
        path.write_bytes(data)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InvalidRequest("--export", f"{path} cannot be written: {reason}") from None


def _title(options: BenchOptions) -> str:
    return f"{options.query.task}: milliseconds to the whole answer, {options.load.words()}"


def _threshold(text: str) -> Threshold:
    try:
        return parse_threshold(text)
    except ValueError as error:
        raise BadParameter(str(error)) from None


def _export_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _EXPORTS:
        raise BadParameter(f"expected a name that ends in {', '.join(_EXPORTS)}, got '{text}'")
    if not path.parent.is_dir():
        raise BadParameter(f"there is no folder {path.parent}")
    return path


def _strategies(incomplete: str) -> list[str]:
    return [*(["all"] if "all".startswith(incomplete) else []), *strategy_names(incomplete)]


_EXAMPLES = """\
llm-pool bench                                   # each provider that serves plain questions, and the pool
llm-pool bench --task expand_queries --strategy fastest --strategy voting -n 50
llm-pool bench --provider phi3 --rate 4 --duration 30s --threshold 'p95<900ms' --threshold 'errors<1%'
llm-pool bench --strategy all --export bench.svg --export bench.json"""

app = App()


@app.command(epilog=_EXAMPLES)
def bench(
    ctx: Context,
    prompt: Annotated[str | None, Argument(help="what is asked; else an example of the task")] = None,
    task: Task = "ask",
    provider: Annotated[
        list[str] | None,
        Option(
            "--provider",
            metavar="NAME",
            help="this one alone (repeat for more); else all that serve the task, and the task's own strategy",
            autocompletion=provider_names,
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        Option(
            *("-s", "--strategy"),
            metavar="NAME",
            help="the pool under this one (repeat for more, or all)",
            autocompletion=_strategies,
        ),
    ] = None,
    requests: Annotated[
        int | None,
        Option(
            "-n",
            metavar="N",
            help=f"requests to each; {_REQUESTS} unless --duration ends it",
            parser=integer(1, _MOST),
        ),
    ] = None,
    duration: Annotated[
        float | None,
        Option(
            "--duration",
            metavar="TIME",
            help="begin requests for so long, e.g. 30s",
            parser=more_than_zero(time_span),
        ),
    ] = None,
    concurrency: Annotated[
        int,
        Option("--concurrency", metavar="N", help="askers, each waiting for its answer", parser=integer(1, 1024)),
    ] = 1,
    rate: Annotated[
        float | None,
        Option(
            "--rate",
            metavar="R",
            help="instead: R requests a second, however slow the answers are",
            parser=more_than_zero(number),
        ),
    ] = None,
    warmup: Annotated[
        int, Option("--warmup", metavar="N", help="requests before, not measured", parser=integer(0, _MOST))
    ] = 1,
    max_tokens: MaxTokens = None,
    deadline_ms: Annotated[
        float | None,
        Option(
            "--deadline-ms",
            metavar="MS",
            help="time for each answer; else the task's",
            parser=more_than_zero(number),
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        Option(
            "--threshold",
            metavar="RULE",
            help="exit 99 if it does not hold, e.g. p95<900ms, ttft_p95<400ms, errors<1%, tps>20 (repeat for more)",
            parser=_threshold,
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        Option(
            "--export",
            metavar="FILE",
            help="write it as .svg, .png or .json too (repeat for more)",
            parser=_export_path,
        ),
    ] = None,
) -> int:
    """Put a short load on providers and strategies, and print how fast they answer."""
    from llm_pool.cli.bench.load import Load
    from llm_pool.cli.bench.subjects import INPUTS, subjects

    asked = prompt or INPUTS.get(task)
    if asked is None:
        raise InvalidRequest("prompt", f"there is none, and task '{task}' has no example of its own")
    options = BenchOptions(
        query=Query(
            prompt=asked,
            task=task,
            max_tokens=max_tokens,
            deadline=None if deadline_ms is None else deadline_ms / 1000,
            no_cache=True,
        ),
        load=Load(
            requests=requests if requests or duration else _REQUESTS,
            duration=duration,
            concurrency=concurrency,
            rate=rate,
        ),
        warmup=warmup,
        thresholds=tuple(cast("list[Threshold]", threshold or ())),
        exports=tuple(cast("list[Path]", export or ())),
        as_json=ctx.obj.json,
    )
    measured = subjects(read_config(ctx.obj), task, provider or (), strategy or ())
    rows = asyncio.run(measure(options, measured, ctx.obj.console))
    return conclude(options, rows, ctx.obj.console)

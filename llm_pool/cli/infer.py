"""``llm-pool infer``: one question, or one a line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from llm_pool.admission import parse_strategy
from llm_pool.app import open_app
from llm_pool.cli.completing import strategy_names, task_names
from llm_pool.cli.console import Console, neutral
from llm_pool.cli.exits import Exit
from llm_pool.cli.printing import Output, printer_for
from llm_pool.cli.reading_input import gather_prompt, lines_of
from llm_pool.cli.settings import COLOR, CONFIG, QUIET, read_config
from llm_pool.cli.waiting import waiting
from llm_pool.messages import Query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from llm_pool.config import Config
    from llm_pool.messages import Event
    from llm_pool.orchestrator import Orchestrator

_EXAMPLES = """\b
Examples:
  llm-pool infer "Is 17 prime?"
  llm-pool infer --task expand_queries "cinematic lounge videos"
  cat report.txt | llm-pool infer "Sum it up in one line."
  llm-pool infer --task judge --json '{"candidates":[{"id":"a","text":"4"},{"id":"b","text":"5"}],"query":"2+2?"}'
  llm-pool infer --task expand_queries --input queries.jsonl > answers.jsonl
"""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class InferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What ``infer`` was asked to do."""

    query: Query
    output: Output = "text"
    stream: bool = True
    explain: bool = False


@app.command(epilog=_EXAMPLES)
def infer(
    prompt: Annotated[
        str | None, typer.Argument(help="The question; `-` or nothing reads stdin. Piped text comes first.")
    ] = None,
    *,
    task: Annotated[
        str, typer.Option("--task", "-t", help="A task's name; else a plain question.", autocompletion=task_names)
    ] = "ask",
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", "-s", help="How to decide; else the task's own.", autocompletion=strategy_names),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Length of the answer at most.")] = None,
    deadline_ms: Annotated[float | None, typer.Option(help="An answer by then, or none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, with the decision.")] = False,
    as_jsonl: Annotated[bool, typer.Option("--jsonl", help="Print events as they come, one JSON object each.")] = False,
    input_file: Annotated[
        Path | None,
        typer.Option("--input", help="JSON lines, each a prompt or an object with `prompt`; `-` is stdin."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Lines of --input under way at once.")] = 4,
    stream: Annotated[bool, typer.Option(help="Print text as it comes.")] = True,
    explain: Annotated[bool, typer.Option(help="Draw on stderr how the answer came about.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Say what would be asked of whom; ask nobody.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither use nor fill the cache.")] = False,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Never read stdin.")] = False,
    request_id: Annotated[str, typer.Option(help="An id of your own; `feedback` takes it.")] = "",
    config: CONFIG = None,
    color: COLOR = "auto",
    quiet: QUIET = False,
) -> int:
    """Ask the pool, and print its answer."""
    console = Console(color=color, quiet=quiet)
    query = Query(
        prompt="",
        task=task,
        request_id=request_id,
        max_tokens=max_tokens,
        deadline=None if deadline_ms is None else deadline_ms / 1000,
        strategy=None if strategy is None else parse_strategy(strategy),
        no_cache=no_cache,
    )
    output: Output = "json" if as_json else "jsonl" if as_jsonl else "text"
    settings = read_config(config)
    if input_file is not None:
        from llm_pool.cli.batch import answer_lines

        lines = list(lines_of(input_file))
        return asyncio.run(
            _with_pool(settings, lambda pool: answer_lines(query, lines, pool, console, concurrency=concurrency))
        )
    query = msgspec.structs.replace(query, prompt=gather_prompt(prompt, read_stdin=not no_stdin, say=console.say))
    if dry_run:
        from llm_pool.cli.dry_run import show_plan

        return asyncio.run(_with_pool(settings, lambda pool: show_plan(query, pool, console, as_json=as_json)))
    options = InferOptions(query=query, output=output, stream=stream, explain=explain)
    return asyncio.run(_with_pool(settings, lambda pool: answer_one(options, pool, console)))


async def answer_one(options: InferOptions, pool: Orchestrator, console: Console) -> int:
    """Ask *pool* one question and print its answer; raises what ``Orchestrator.infer`` raises."""
    printer = printer_for(options.output, console, stream=options.stream)
    async with waiting(console, (await pool.plan(options.query)).call.deadline) as line:

        def on(event: Event) -> None:
            line.on(event)
            printer.on(event)

        answer = await pool.infer(options.query, on)
    printer.finish(answer)
    if answer.degraded:
        console.say(f"note: degraded: {neutral(answer.decision.degraded_reason)}")
    if options.explain:
        from llm_pool.cli.explain import explain

        explain(answer, console)
    return Exit.OK


async def _with_pool(config: Config, work: Callable[[Orchestrator], Awaitable[int]]) -> int:
    async with open_app(config) as pool:
        return await work(pool.orchestrator)

"""``llm-pool infer``: one question, or one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.exit_codes import DegradedAnswer, ExitCode
from llm_pool.cli.options import add_config, add_output_options, read_config
from llm_pool.cli.parsing import Command, integer, number
from llm_pool.cli.prompt_input import gather_prompt, lines_of
from llm_pool.cli.remote import add_url, expected_deadline, reject_local_only, with_daemon
from llm_pool.cli.shell_completion import strategy_names, task_names
from llm_pool.core.errors import NoConsensus
from llm_pool.core.messages import Query

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser
    from llm_pool.cli.printing import Output
    from llm_pool.cli.remote import Inferrer
    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer
    from llm_pool.engine import App

    Deadline = Callable[[Query], Awaitable[float]]
    Work = Callable[[Inferrer, Deadline], Awaitable[int]]
    Runner = Callable[[Work], Coroutine[Any, Any, int]]

_ABOUT = "Ask the pool, and print its answer."
_EXAMPLES = (
    'llm-pool infer "Is 17 prime?"',
    'llm-pool infer --task expand_queries "cinematic lounge videos"',
    "cat report.txt | llm-pool infer 'Sum it up in one line.'",
    (
        """echo '{"candidates":[{"id":"a","text":"dull"},{"id":"b","text":"sharp"}]}' |"""
        " llm-pool infer --task judge --json"
    ),
    "llm-pool infer --task expand_queries --input queries.jsonl > answers.jsonl",
    'llm-pool infer --url http://127.0.0.1:7071 "Is 17 prime?"',
)
_MOST_TOKENS = 1_000_000
_CUT = {
    "length": "cut at max_tokens, or at the end of the model's context: the answer is not whole (--max-tokens)",
    "repetition": "cut by the backend, because the model repeated itself: the answer is not whole",
}


class InferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How ``infer`` was asked to answer one question."""

    query: Query
    output: Output = "text"
    stream: bool = True
    explain: bool = False
    exit_status: bool = False
    strict: bool = False


def _arguments(parser: Parser) -> None:
    parser.argument("prompt", "the question; - or nothing reads stdin, and piped text comes first", optional=True)
    parser.option(*("-t", "--task"), metavar="TASK", text="a task's name", default="ask", complete=task_names)
    parser.option(
        *("-s", "--strategy"), metavar="NAME", text="how to decide; else the task's own", complete=strategy_names
    )
    parser.option("--max-tokens", metavar="N", text="length of the answer at most", read=integer(1, _MOST_TOKENS))
    parser.option("--think", metavar="HOW", text="whether models think first: false, true, low, medium or high")
    parser.option("--deadline-ms", metavar="MS", text="an answer by then, or none", read=number)
    parser.flag("--jsonl", text="print events as they come, one JSON object each")
    parser.option("--input", metavar="FILE", text="JSON lines, each a prompt or an object with prompt; - is stdin")
    parser.option(
        "--concurrency", metavar="N", text="lines of --input under way at once", read=integer(1, 256), default=4
    )
    parser.flag("--stream", text="print text as it comes; so it is on a terminal", to="stream")
    parser.flag("--no-stream", text="print the text when it is whole; so it is in a pipe", to="stream", value=False)
    parser.set_defaults(stream=None)
    parser.flag("--explain", text="draw on stderr how the answer came about")
    parser.flag("--dry-run", text="say what would be asked of whom; ask nobody")
    parser.flag("--exit-status", text="exit 10 if the answer is no or nothing, 11 if the models did not agree")
    parser.flag("--strict", text="refuse a degraded answer: print nothing of it and exit 12")
    parser.flag("--no-cache", text="neither use nor fill the cache")
    parser.flag("--no-stdin", text="never read stdin")
    parser.option("--request-id", metavar="ID", text="an id of your own; feedback takes it", default="")
    add_url(parser)
    add_config(parser)
    add_output_options(parser, json="print one JSON object, with the decision; an error becomes a JSON line on stderr")


def _run(args: Namespace, console: Console) -> int:
    import asyncio

    query = _query(args)
    if args.dry_run and not args.url:
        settings = read_config(args.config, console)
        return asyncio.run(_dry_run(_with_prompt(query, args, console), settings, console, as_json=args.json))
    runner = _with_daemon(args) if args.url else _with_pool(read_config(args.config, console))
    if args.input is not None:
        from llm_pool.cli.batch import answer_lines

        lines = list(lines_of(args.input))
        return asyncio.run(
            runner(
                lambda pool, _: answer_lines(
                    query, lines, pool, console, concurrency=args.concurrency, strict=args.strict
                )
            )
        )
    options = InferOptions(
        query=_with_prompt(query, args, console),
        output="json" if args.json else "jsonl" if args.jsonl else "text",
        stream=console.stdout.isatty() if args.stream is None else args.stream,
        explain=args.explain,
        exit_status=args.exit_status,
        strict=args.strict,
    )
    return asyncio.run(runner(lambda pool, deadline: answer_one(options, pool, deadline, console)))


COMMAND = Command("infer", _ABOUT, _EXAMPLES, _arguments, _run)


async def answer_one(options: InferOptions, pool: Inferrer, deadline: Deadline, console: Console) -> int:
    """Ask *pool* one question and print its answer, due at *deadline*; raises what ``infer`` raises."""
    from llm_pool.cli.printing import printer_for
    from llm_pool.cli.wait_indicator import wait_indicator

    printer = printer_for(options.output, console, stream=options.stream)
    held: list[Event] = []
    tell = held.append if options.strict else printer.on  # whether it is degraded is known when it is whole
    async with wait_indicator(console, lambda: deadline(options.query)) as line:

        def on(event: Event) -> None:
            line.on(event)
            tell(event)

        try:
            answer = await pool.infer(options.query, on)
        except NoConsensus as error:
            if options.explain:
                from llm_pool.cli.explain import explain_disagreement

                explain_disagreement(error.decision, options.query.task, console)
            raise
    if options.strict and answer.degraded:
        raise DegradedAnswer(answer.decision.degraded_reason)
    for event in held:
        printer.on(event)
    printer.finish(answer)
    if options.explain and not console.quiet:
        from llm_pool.cli.explain import explain

        explain(answer, console)
    else:
        _tell_notes(answer, console)
    if answer.decision.ran_out_of_time:
        return ExitCode.DEADLINE
    if not options.exit_status:
        return ExitCode.OK
    from llm_pool.cli.verdict import verdict

    return verdict(answer)


def _tell_notes(answer: Answer, console: Console) -> None:
    """What a person should know of *answer* beside its text."""
    if answer.decision.deadline_note:
        console.say(f"note: {answer.decision.deadline_note}")
    if answer.finish in _CUT:
        console.say(f"note: {_CUT[answer.finish]}")
    if answer.degraded:
        console.warn(f"note: degraded: {answer.decision.degraded_reason}")


def _query(args: Namespace) -> Query:
    from llm_pool.engine import parse_strategy, parse_think

    think = None if args.think is None else parse_think(args.think)
    if think is None and args.exit_status:
        think = False  # yes or no
    return Query(
        prompt="",
        task=args.task,
        request_id=args.request_id,
        max_tokens=args.max_tokens,
        deadline=None if args.deadline_ms is None else args.deadline_ms / 1000,
        strategy=None if args.strategy is None else parse_strategy(args.strategy),
        no_cache=args.no_cache,
        think=think,
    )


def _with_prompt(query: Query, args: Namespace, console: Console) -> Query:
    prompt = gather_prompt(args.prompt, read_stdin=not args.no_stdin, say=console.say)
    return msgspec.structs.replace(query, prompt=prompt)


class PatientPool:
    """
    A pool in this process, which waits for a first load.

    The load does not count against a default deadline: the pool begins with the command, and nobody could have loaded
    ahead. A deadline that was asked for holds, load or not.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def infer(self, query: Query, emit: Emit | None = None) -> Answer:
        """The answer; *emit* is told what happens meanwhile."""
        if query.deadline is None:
            await self._app.load_for(query, emit or (lambda _: None))
        return await self._app.orchestrator.infer(query, emit)


def _with_pool(config: Config) -> Runner:
    """Works with a pool in this process."""

    async def runner(work: Work) -> int:
        from llm_pool.engine import open_app

        async with open_app(config) as pool:

            async def deadline(query: Query) -> float:
                return (await pool.orchestrator.plan(query)).call.deadline

            return await work(PatientPool(pool), deadline)

    return runner


def _with_daemon(args: Namespace) -> Runner:
    """Works with the daemon at ``--url``."""
    reject_local_only(args, "dry_run", "config")
    return lambda work: with_daemon(args.url, lambda daemon: work(daemon, expected_deadline))


async def _dry_run(query: Query, config: Config, console: Console, *, as_json: bool) -> int:
    from llm_pool.cli.dry_run import show_plan
    from llm_pool.engine import open_app

    async with open_app(config) as pool:
        variants = {one.name: one.prompt_variant or "" for one in config.active_providers}
        return await show_plan(query, pool.orchestrator, variants, console, as_json=as_json)

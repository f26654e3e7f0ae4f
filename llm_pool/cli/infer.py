"""``llm-pool infer``: one question, or one a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from typer import Argument, Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import provider_names
from llm_pool.cli.exit_codes import DegradedAnswer, ExitCode
from llm_pool.cli.options import DeadlineMs, MaxTokens, Strategy, Task, Url, read_config
from llm_pool.cli.prompt_input import gather_prompt, read_schema
from llm_pool.cli.remote import expected_deadline, reject_local_only, with_daemon
from llm_pool.cli.values import integer, number, shard
from llm_pool.core.errors import InvalidRequest, NoConsensus
from llm_pool.core.messages import Query, Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from llm_pool.cli.console import Console
    from llm_pool.cli.printing import Output
    from llm_pool.cli.remote import Inferrer
    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Emit
    from llm_pool.core.messages import Answer, StrategyName, Think
    from llm_pool.engine import App as Pool

    Deadline = Callable[[Query], Awaitable[float]]
    Work = Callable[[Inferrer, Deadline], Awaitable[int]]
    Runner = Callable[[Work], Coroutine[Any, Any, int]]

EXAMPLES = """\
llm-pool infer "Is 17 prime?"
llm-pool infer --task expand_queries "cinematic lounge videos"
cat report.txt | llm-pool infer 'Sum it up in one line.'
llm-pool infer --task expand_queries --input queries.jsonl > answers.jsonl
llm-pool infer --url http://127.0.0.1:7071 "Is 17 prime?\""""
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


app = App()


@app.command(epilog=EXAMPLES)
def infer(
    ctx: Context,
    prompt: Annotated[
        str | None, Argument(help="the question; - or nothing reads stdin, and piped text comes first")
    ] = None,
    task: Task = "ask",
    strategy: Strategy = None,
    max_tokens: MaxTokens = None,
    think: Annotated[
        str | None,
        Option("--think", metavar="HOW", help="whether models think first: false, true, low, medium or high"),
    ] = None,
    deadline_ms: DeadlineMs = None,
    provider: Annotated[
        list[str] | None,
        Option(
            "--provider",
            metavar="NAME",
            help="ask this one alone (repeat for more)",
            autocompletion=provider_names,
        ),
    ] = None,
    system: Annotated[
        str | None, Option("--system", metavar="TEXT", help="what the models are told before the question")
    ] = None,
    temperature: Annotated[
        float | None, Option("--temperature", metavar="T", help="0 for the likeliest words, 2 at most", parser=number)
    ] = None,
    seed: Annotated[
        int | None, Option("--seed", metavar="N", help="the same answer again, where a backend can")
    ] = None,
    schema: Annotated[
        Path | None, Option("--schema", metavar="FILE", help="a JSON Schema that the answer has to fit")
    ] = None,
    candidates: Annotated[bool, Option("--candidates", help="with --json: the text of every model's answer")] = False,
    jsonl: Annotated[bool, Option("--jsonl", help="print events as they come, one JSON object each")] = False,
    input: Annotated[  # noqa: A002  # the option's name
        str | None,
        Option("--input", metavar="FILE", help="JSON lines, each a prompt or an object with prompt; - is stdin"),
    ] = None,
    template: Annotated[
        str | None,
        Option("--template", metavar="TEXT", help="of a CSV file: the prompt, with {{column}} for a column's text"),
    ] = None,
    output_file: Annotated[
        Path | None, Option("--output", metavar="FILE", help="where the answers of --input go, instead of stdout")
    ] = None,
    resume: Annotated[bool, Option("--resume", help="go on with --output: what it has is not asked again")] = False,
    retry_failed: Annotated[bool, Option("--retry-failed", help="with --resume: ask again what failed")] = False,
    part: Annotated[
        Any,
        Option("--shard", metavar="I/N", help="of --input every N-th line alone, from the I-th on", parser=shard),
    ] = None,
    concurrency: Annotated[
        int,
        Option("--concurrency", metavar="N", help="lines of --input under way at once", parser=integer(1, 256)),
    ] = 4,
    stream: Annotated[
        bool | None, Option("--stream/--no-stream", help="print text as it comes; so it is on a terminal")
    ] = None,
    explain: Annotated[bool, Option("--explain", help="draw on stderr how the answer came about")] = False,
    dry_run: Annotated[bool, Option("--dry-run", help="say what would be asked of whom; ask nobody")] = False,
    exit_status: Annotated[
        bool,
        Option("--exit-status", help="exit 10 if the answer is no or nothing, 11 if the models did not agree"),
    ] = False,
    strict: Annotated[
        bool, Option("--strict", help="refuse a degraded answer: print nothing of it and exit 12")
    ] = False,
    no_cache: Annotated[bool, Option("--no-cache", help="neither use nor fill the cache")] = False,
    no_stdin: Annotated[bool, Option("--no-stdin", help="never read stdin")] = False,
    request_id: Annotated[str, Option("--request-id", metavar="ID", help="an id of your own; feedback takes it")] = "",
    url: Url = None,
) -> int:
    """Ask the pool, and print its answer."""
    import asyncio

    console, as_json = ctx.obj.console, ctx.obj.json
    if candidates and not as_json:
        raise InvalidRequest("--candidates", "it goes with --json")
    query = Query(
        prompt="",
        task=task,
        request_id=request_id,
        max_tokens=max_tokens,
        deadline=None if deadline_ms is None else deadline_ms / 1000,
        strategy=_strategy(strategy),
        no_cache=no_cache,
        think=_think(think, yes_or_no=exit_status),
        providers=tuple(provider or ()),
        turns=() if system is None else (Turn("system", system),),
        temperature=temperature,
        seed=seed,
        output_schema=None if schema is None else read_schema(schema),
    )

    def asked() -> Query:
        text = gather_prompt(prompt, read_stdin=not no_stdin, say=console.say)
        return msgspec.structs.replace(query, prompt=text)

    if dry_run and not url:
        return asyncio.run(_dry_run(asked(), read_config(ctx.obj), console, as_json=as_json))
    if url:
        reject_local_only(dry_run=dry_run, config=ctx.obj.config, candidates=candidates)
    runner = _with_daemon(url) if url else _with_pool(read_config(ctx.obj))
    if any((input, output_file, template, resume, retry_failed, part)):
        from llm_pool.cli.batch import BatchFiles, answer_files

        files = BatchFiles(
            input=input, output=output_file, template=template, resume=resume, retry_failed=retry_failed, shard=part
        )
        files.check()
        return asyncio.run(
            runner(lambda pool, _: answer_files(files, query, pool, console, concurrency=concurrency, strict=strict))
        )
    options = InferOptions(
        query=asked(),
        output="candidates" if candidates else "json" if as_json else "jsonl" if jsonl else "text",
        stream=console.stdout.isatty() if stream is None else stream,
        explain=explain,
        exit_status=exit_status,
        strict=strict,
    )
    return asyncio.run(runner(lambda pool, deadline: answer_one(options, pool, deadline, console)))


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
    if not options.exit_status:
        return ExitCode.OK
    from llm_pool.cli.verdict import verdict

    return verdict(answer)


def _tell_notes(answer: Answer, console: Console) -> None:
    """What a person should know of *answer* beside its text."""
    if answer.finish in _CUT:
        console.say(f"note: {_CUT[answer.finish]}")
    if answer.degraded:
        console.warn(f"note: degraded: {answer.decision.degraded_reason}")


def _strategy(word: str | None) -> StrategyName | None:
    if word is None:
        return None
    from llm_pool.engine import parse_strategy

    return parse_strategy(word)


def _think(word: str | None, *, yes_or_no: bool) -> Think | None:
    """What ``--think`` says; a question of yes or no needs none."""
    if word is None:
        return False if yes_or_no else None
    from llm_pool.engine import parse_think

    return parse_think(word)


class PatientPool:
    """
    A pool in this process, which waits for a first load.

    The load does not count against a default deadline: the pool begins with the command, and nobody could have loaded
    ahead. A deadline that was asked for holds, load or not.
    """

    def __init__(self, app: Pool) -> None:
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


def _with_daemon(url: str) -> Runner:
    """Works with the daemon at *url*."""
    return lambda work: with_daemon(url, lambda daemon: work(daemon, expected_deadline))


async def _dry_run(query: Query, config: Config, console: Console, *, as_json: bool) -> int:
    from llm_pool.cli.dry_run import show_plan
    from llm_pool.engine import open_app

    async with open_app(config) as pool:
        variants = {one.name: one.prompt_variant or "" for one in config.active_providers}
        return await show_plan(query, pool.orchestrator, variants, console, as_json=as_json)

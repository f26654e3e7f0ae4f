"""
``llm-pool infer``: one question, or one a line.

Annotations are evaluated here, once, when the bytecode is loaded: Typer would compile the texts of them at each start.
"""

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import provider_names
from llm_pool.cli.options import DeadlineMs, MaxTokens, Strategy, Task, Url, known_provider, read_config
from llm_pool.cli.prompt_input import gather_prompt, read_schema
from llm_pool.cli.values import integer, number, shard
from llm_pool.core.errors import InvalidRequest

EXAMPLES = """\
llm-pool infer "Is 17 prime?"
llm-pool infer --task expand_queries "cinematic lounge videos"
cat report.txt | llm-pool infer 'Sum it up in one line.'
llm-pool infer --task expand_queries --input queries.jsonl > answers.jsonl
llm-pool infer --url http://127.0.0.1:7071 "Is 17 prime?\""""
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

    import msgspec

    from llm_pool.cli import asking
    from llm_pool.core.messages import Query, Turn

    console, as_json = ctx.obj.console, ctx.obj.json
    if candidates and not as_json:
        raise InvalidRequest("--candidates", "it goes with --json")
    query = Query(
        prompt="",
        task=task,
        request_id=request_id,
        max_tokens=max_tokens,
        deadline=None if deadline_ms is None else deadline_ms / 1000,
        strategy=asking.strategy_called(strategy),
        no_cache=no_cache,
        think=asking.think_called(think, yes_or_no=exit_status),
        providers=tuple(provider or ()),
        turns=() if system is None else (Turn("system", system),),
        temperature=temperature,
        seed=seed,
        output_schema=None if schema is None else read_schema(schema),
    )

    def asked() -> Query:
        text = gather_prompt(prompt, read_stdin=not no_stdin, say=console.say)
        return msgspec.structs.replace(query, prompt=text)

    if url:
        from llm_pool.cli.remote import reject_local_only

        reject_local_only(dry_run=dry_run, config=ctx.obj.config, candidates=candidates)
    config = None if url else read_config(ctx.obj)
    if config is not None and query.providers:
        names = tuple(known_provider(config, name) for name in query.providers)
        query = msgspec.structs.replace(query, providers=names)
    if config is not None and dry_run:
        return asyncio.run(asking.dry_run(asked(), config, console, as_json=as_json))
    if any((input, output_file, template, resume, retry_failed, part)):
        from llm_pool.cli.batch import BatchFiles, answer_files

        files = BatchFiles(
            input=input, output=output_file, template=template, resume=resume, retry_failed=retry_failed, shard=part
        )
        files.check()

        async def answer_all() -> int:
            async with asking.opened(url, config) as (pool, _):
                return await answer_files(files, query, pool, console, concurrency=concurrency, strict=strict)

        return asyncio.run(answer_all())
    options = asking.InferOptions(
        query=asked(),
        output="candidates" if candidates else "json" if as_json else "jsonl" if jsonl else "text",
        stream=console.stdout.isatty() if stream is None else stream,
        explain=explain,
        exit_status=exit_status,
        strict=strict,
        keep_text=config is not None and config.telemetry.capture,
    )

    async def answer() -> int:
        async with asking.opened(url, config) as (pool, deadline):
            return await asking.answer_one(options, pool, deadline, console)

    return asyncio.run(answer())

"""One question to a pool in this process, or to a daemon, with its answer on the terminal as it comes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from llm_pool.cli.exit_codes import DegradedAnswer, ExitCode
from llm_pool.cli.remote import daemon_at, expected_deadline
from llm_pool.core.errors import AllProvidersFailed, DeadlineExceeded, NoConsensus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_pool.cli.console import Console
    from llm_pool.cli.printing import Output
    from llm_pool.cli.remote import Inferrer
    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Query, StrategyName, Think

    Deadline = Callable[[Query], Awaitable[float]]

_CUT = {
    "length": "cut at max_tokens, or at the end of the model's context: the answer is not whole (--max-tokens)",
    "repetition": "cut by the backend, because the model repeated itself: the answer is not whole",
}


class InferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How ``infer`` was asked to answer one question; *keep_text*: ``llm-pool why`` may show what was said."""

    query: Query
    output: Output = "text"
    stream: bool = True
    explain: bool = False
    exit_status: bool = False
    strict: bool = False
    keep_text: bool = False


async def answer_one(options: InferOptions, pool: Inferrer, deadline: Deadline, console: Console) -> int:
    """Ask *pool* one question and print its answer, due at *deadline*; raises what ``infer`` raises."""
    import asyncio
    import time

    from llm_pool.cli.printing import printer_for
    from llm_pool.cli.recent import keep
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
        except (AllProvidersFailed, DeadlineExceeded) as error:
            if options.explain and error.attempts and options.output == "text":  # JSON has them in the error
                from llm_pool.cli.explain import explain_failure

                explain_failure(error.attempts, options.query.task, console)
            raise
    if options.strict and answer.degraded:
        raise DegradedAnswer(answer.decision.degraded_reason)
    for event in held:
        printer.on(event)
    printer.finish(answer)
    await asyncio.to_thread(keep, answer, wall=time.time(), text=options.keep_text)
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


def strategy_called(word: str | None) -> StrategyName | None:
    """The strategy of that name; None for none. Raises InvalidRequest."""
    if word is None:
        return None

    from llm_pool.engine import parse_strategy

    return parse_strategy(word)


def think_called(word: str | None, *, yes_or_no: bool) -> Think | None:
    """What ``--think`` says; a question of yes or no needs none."""
    if word is None:
        return False if yes_or_no else None

    from llm_pool.engine import parse_think

    return parse_think(word)


@asynccontextmanager
async def opened(url: str | None, config: Config | None) -> AsyncIterator[tuple[Inferrer, Deadline]]:
    """Who is asked, open while the block runs: the daemon at *url*, else a pool of *config* in this process."""
    if url is not None:
        async with daemon_at(url) as daemon:
            yield daemon, expected_deadline
        return
    from llm_pool.engine import open_app

    assert config is not None
    async with open_app(config) as pool:

        async def deadline(query: Query) -> float:
            return (await pool.orchestrator.plan(query)).call.deadline

        yield pool, deadline


async def dry_run(query: Query, config: Config, console: Console, *, as_json: bool) -> int:
    """Say what would be asked of whom; raises what planning raises."""
    from llm_pool.cli.dry_run import show_plan
    from llm_pool.engine import open_app

    async with open_app(config) as pool:
        variants = {one.name: one.prompt_variant or "" for one in config.active_providers}
        return await show_plan(query, pool.orchestrator, variants, console, as_json=as_json)

"""``llm-pool compare``: every provider's answer to one question, side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from typer import Argument, Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import provider_names
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import DeadlineMs, MaxTokens, Task, known_provider, read_config
from llm_pool.cli.prompt_input import gather_prompt
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Query, StrategyName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.console import Console
    from llm_pool.config import Config
    from llm_pool.core.messages import Answer, Attempt, Json

_EXAMPLES = """\
llm-pool compare "Is 17 prime?"
llm-pool compare --provider phi3 --provider gemma2 "Name a city."
llm-pool compare --task expand_queries "lounge videos" --json | jq '.clusters'"""
_PANEL = 36
"""Columns that an answer beside others needs at least."""

app = App()


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one provider said.

    Attributes:
        attempt: its answer; None where it gave none.
        error: why it gave none, else empty.
        cluster: number of the group of those that say the same, from 1 for the largest; 0 without an answer.
    """

    provider: str
    model: str
    answer: Answer | None
    attempt: Attempt | None
    error: str = ""
    cluster: int = 0

    @property
    def speed(self) -> float | None:
        """Tokens a second, over the whole answer."""
        tokens = None if self.attempt is None else self.attempt.usage.completion_tokens
        return tokens / self.attempt.duration if tokens and self.attempt and self.attempt.duration > 0 else None


@app.command(epilog=_EXAMPLES)
def compare(
    ctx: Context,
    prompt: Annotated[str | None, Argument(help="the question; - or nothing reads stdin")] = None,
    task: Task = "ask",
    provider: Annotated[
        list[str] | None,
        Option(
            "--provider",
            metavar="NAME",
            help="this one (repeat for more); else all that serve the task",
            autocompletion=provider_names,
        ),
    ] = None,
    max_tokens: MaxTokens = None,
    deadline_ms: DeadlineMs = None,
    no_stdin: Annotated[bool, Option("--no-stdin", help="never read stdin")] = False,
) -> int:
    """Ask every provider, and show the answers beside each other with their time, speed, and who says the same."""
    console = ctx.obj.console
    config = read_config(ctx.obj)
    query = Query(
        prompt=gather_prompt(prompt, read_stdin=not no_stdin, say=console.say),
        task=task,
        strategy=StrategyName.FASTEST,
        max_tokens=max_tokens,
        deadline=None if deadline_ms is None else deadline_ms / 1000,
        no_cache=True,
        providers=tuple(known_provider(config, name) for name in provider or ()),
    )
    found = asyncio.run(_ask_each(query, config, console))
    if ctx.obj.json:
        console.json(_as_json(query, found))
    else:
        _show(found, console)
    return ExitCode.OK if any(one.attempt is not None for one in found) else ExitCode.UNAVAILABLE


async def _ask_each(query: Query, config: Config, console: Console) -> list[Compared]:
    """What each provider of the panel says, in the panel's order; raises InvalidRequest where nobody can be asked."""
    from llm_pool.cli.progress import Progress
    from llm_pool.engine import open_app
    from llm_pool.ensemble.ballots import group_by_answer

    async with open_app(config) as pool:
        plan = await pool.orchestrator.plan(query)
        members = (*plan.panel.regular, *plan.panel.last_resort)
        done = 0
        with Progress(console, f"asking {len(members)} providers") as progress:
            progress.update(0, len(members))

            async def ask(name: str, model: str) -> Compared:
                nonlocal done
                alone = msgspec.structs.replace(query, providers=(name,))
                try:
                    answer = await pool.infer(alone)
                except LlmPoolError as error:
                    return Compared(provider=name, model=model, answer=None, attempt=None, error=_reason(error))
                finally:
                    done += 1
                    progress.update(done, len(members))
                read = (a for a in answer.decision.attempts if a.provider == name and a.reading is not None)
                return Compared(provider=name, model=model, answer=answer, attempt=next(read, None))

            found = await asyncio.gather(*(ask(member.name, member.model) for member in members))
    groups = group_by_answer(plan.call, [one.attempt for one in found if one.attempt is not None])
    ranked = sorted(groups, key=len, reverse=True)
    numbers = {attempt.provider: number for number, group in enumerate(ranked, start=1) for attempt in group}
    return [msgspec.structs.replace(one, cluster=numbers.get(one.provider, 0)) for one in found]


def _reason(error: LlmPoolError) -> str:
    """The error of the one who was asked, where there is one: that nobody else was is no news."""
    attempts: Sequence[Attempt] = getattr(error, "attempts", ())
    return next((attempt.error for attempt in reversed(attempts) if attempt.error), str(error)).splitlines()[0]


def _as_json(query: Query, found: Sequence[Compared]) -> dict[str, Json]:
    clusters: dict[int, list[Json]] = {}
    for one in found:
        if one.cluster:
            clusters.setdefault(one.cluster, []).append(one.provider)
    return {
        "task": query.task,
        "answers": [_answer_json(one) for one in found],
        "clusters": [clusters[number] for number in sorted(clusters)],
    }


def _answer_json(one: Compared) -> dict[str, Json]:
    attempt = one.attempt
    return {
        "provider": one.provider,
        "model": one.model,
        "content": None if one.answer is None else one.answer.content,
        "json": None if one.answer is None else one.answer.json,
        "finish": None if one.answer is None else one.answer.finish,
        "error": one.error or None,
        "duration_ms": None if attempt is None else round(attempt.duration * 1000, 3),
        "ttft_ms": None if attempt is None or attempt.ttft is None else round(attempt.ttft * 1000, 3),
        "completion_tokens": None if attempt is None else attempt.usage.completion_tokens,
        "tokens_per_second": None if one.speed is None else round(one.speed, 1),
        "cluster": one.cluster or None,
    }


def _show(found: Sequence[Compared], console: Console) -> None:
    from rich.panel import Panel
    from rich.table import Table

    from llm_pool.cli.drawing import text

    width = min(console.out_width, 160)
    beside = max(1, min(len(found), width // _PANEL))
    for first in range(0, len(found), beside):
        row = found[first : first + beside]
        table = Table.grid(expand=True)
        panels = []
        for one in row:
            table.add_column(ratio=1)
            said = one.error if one.answer is None else one.answer.content.strip()
            panels.append(
                Panel(
                    text(said, "red" if one.answer is None else ""),
                    title=text(f"{one.provider} ({one.model})", "bold"),
                    title_align="left",
                    subtitle=text(_facts(one)),
                    subtitle_align="left",
                    border_style="red" if one.answer is None else "dim",
                )
            )
        table.add_row(*panels)
        console.show(table, most=width)
    groups = {one.cluster for one in found if one.cluster}
    for number in sorted(groups):
        names = ", ".join(one.provider for one in found if one.cluster == number)
        console.show(text(f"{_letter(number)}  {names}{'  say the same' if ', ' in names else ''}"))


def _facts(one: Compared) -> str:
    if one.attempt is None:
        return "no answer"
    facts = [f"{one.attempt.duration:.2f} s"]
    if one.attempt.usage.completion_tokens is not None:
        count = one.attempt.usage.completion_tokens
        facts.append(f"{count} token{'' if count == 1 else 's'}")
    if one.speed is not None:
        facts.append(f"{one.speed:.0f} tok/s")
    return " · ".join([_letter(one.cluster), *facts])


def _letter(cluster: int) -> str:
    """A, B, … for the groups; beyond Z their number."""
    return chr(ord("A") + cluster - 1) if 1 <= cluster <= 26 else str(cluster)

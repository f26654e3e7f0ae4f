"""A decision as a timeline that a person can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table

    from llm_pool.cli.console import Console
    from llm_pool.core.messages import Answer, Attempt, Decision

MOST_COLUMNS = 120
"""Of a drawing that goes where no terminal sets an end."""
_MAX_WIDTH, _MIN_WIDTH = 32, 8  # of a timeline
_MAX_LINES, _MAX_LINE = 12, 160  # of an attempt's reasoning
_SHOWN_QUEUE = 0.001  # seconds: less is no wait
_MAX_CALL = 60  # characters of a call
_CUT = {"length": "cut at max_tokens", "repetition": "cut: it repeated itself"}
_COLOURS = {"ok": "green", "cancelled": "dim", "refused": "dim"}


def explain(answer: Answer, console: Console, *, err: bool = True, before: str = "") -> None:
    """
    Draw how *answer* came about: on stderr, beside the answer, or as data, with a line *before* it.

    One row per attempt, on one time scale as wide as the terminal has room for: ``·`` not started, ``┄`` in the queue
    before its machine, ``░`` waiting for the first token, ``█`` writing, thoughts included. What models thought
    follows, shortened.
    """
    cached = " · from the cache" if answer.from_cache else ""
    took = f" · {_time(answer.duration)}{cached}"
    _draw(answer.decision, answer.decision.winner, answer.task, took, console, err=err, before=before)


def explain_disagreement(decision: Decision, task: str, console: Console) -> None:
    """Draw on stderr how far the panel was from the consensus that *decision* is not: nobody won."""
    _draw(decision, "", task, "", console, err=True, before="")


def explain_failure(attempts: Sequence[Attempt], task: str, console: Console) -> None:
    """Draw on stderr what became of each of *attempts*, at least one: none of them is an answer."""
    from rich.console import Group

    from llm_pool.cli.drawing import text

    parts: list[RenderableType] = [text(f"{task} · no answer", "bold"), _rows(attempts, "", console.width)]
    for attempt in attempts:
        if attempt.reasoning:
            parts += _reasoning(attempt)
    console.show(Group(*parts), err=True, most=10_000)


def _draw(decision: Decision, winner: str, task: str, took: str, console: Console, *, err: bool, before: str) -> None:
    from rich.console import Group
    from rich.text import Text

    from llm_pool.cli.drawing import text

    head = f"{task} · {decision.asked}"
    if decision.used != decision.asked:
        head += f" → {decision.used}"
    agreement = "" if decision.agreement is None else f" · agreement {decision.agreement:.2f}"
    confidence = "" if decision.confidence is None else f" · confidence {decision.confidence:.2f}"
    parts: list[RenderableType] = [
        Text.assemble(text(head, "bold"), f"{took}{agreement}{confidence}"),
        _rows(decision.attempts, winner, console.width if err else min(console.out_width, MOST_COLUMNS)),
    ]
    if before:
        parts.insert(0, text(before, "dim"))
    for attempt in decision.attempts:
        if attempt.reasoning:
            parts += _reasoning(attempt)
    parts += [
        _labelled(f"  {cluster.score:8.3f}", " + ".join(cluster.providers) + _quoted(cluster.label))
        for cluster in decision.clusters
    ]
    parts.append(_labelled("  why:", decision.reason))
    parts += [_labelled("  note:", note) for note in decision.notes]
    if decision.saved:
        calls = f"{decision.saved} call{'s' if decision.saved > 1 else ''}"
        parts.append(_labelled("  saved:", f"{calls} that could not change the outcome"))
    if decision.degraded:
        missing = f" (missing: {', '.join(decision.missing)})" if decision.missing else ""
        parts.append(_labelled("  degraded:", f"{decision.degraded_reason}{missing}", "yellow"))
    console.show(Group(*parts), err=err, most=10_000 if err else MOST_COLUMNS)


def _rows(attempts: Sequence[Attempt], winner: str, columns: int) -> Table:
    """A row per attempt; its timeline gives way where the line is short, and long facts take several lines."""
    from llm_pool.cli.drawing import grid, text

    end = max((a.started + a.duration for a in attempts), default=0.0)
    facts = [_facts(attempt) for attempt in attempts]
    width = _timeline_width(attempts, facts, columns)
    table = grid("left", "left", "left", "left", "wrap", gap=1)
    for attempt, said in zip(attempts, facts, strict=True):
        mark = "★" if attempt.provider == winner and attempt.outcome == "ok" and attempt.why != "judge" else " "
        table.add_row(
            text(f"{mark} {attempt.provider}"),
            attempt.why,
            timeline(attempt, end, width),
            text(_outcome(attempt), _COLOURS.get(attempt.outcome, "red")),
            text(said),
        )
    return table


def _timeline_width(attempts: Sequence[Attempt], facts: Sequence[str], columns: int) -> int:
    """Cells for the timelines, so that a row of successes fits its line; errors may be longer than any."""
    succeeded = [len(said) for attempt, said in zip(attempts, facts, strict=True) if not attempt.error]
    beside = (
        [2 + len(a.provider) for a in attempts],
        [len(a.why) for a in attempts],
        [len(_outcome(a)) for a in attempts],
    )
    taken = sum(max(column, default=0) for column in (*beside, succeeded)) + 4
    return max(_MIN_WIDTH, min(_MAX_WIDTH, columns - taken))


def _labelled(label: str, words: str, style: str = "") -> Table:
    """*words* behind a label, under themselves where they take several lines."""
    from llm_pool.cli.drawing import grid, text

    table = grid("left", "wrap", gap=1)
    table.add_row(text(label, style), text(words))
    return table


def _quoted(label: str) -> str:
    return f"  “{label[:60].strip()}”" if label else ""


def _outcome(attempt: Attempt) -> str:
    return attempt.outcome.replace("_", " ")


def _facts(attempt: Attempt) -> str:
    facts = [_time(attempt.duration)]
    if attempt.queued >= _SHOWN_QUEUE:
        facts.append(f"queued {_time(attempt.queued)}")
    if attempt.first_token is not None:
        facts.append(f"first token {_time(attempt.first_token)}")
    if attempt.usage.completion_tokens is not None:
        count = attempt.usage.completion_tokens
        facts.append(f"{count} token{'' if count == 1 else 's'}")
    if attempt.reading is not None and attempt.reading.tool_calls:
        facts.append("calls " + ", ".join(_shortened(f"{c.name}({c.arguments})") for c in attempt.reading.tool_calls))
    if attempt.finish in _CUT:
        facts.append(_CUT[attempt.finish])
    if attempt.reading is not None and attempt.reading.repair != "strict":
        facts.append(f"repaired ({attempt.reading.repair})")
    if attempt.error:
        facts.append(attempt.error.splitlines()[0])
    return ", ".join(facts)


def _shortened(call: str) -> str:
    return call if len(call) <= _MAX_CALL else f"{call[:_MAX_CALL]}…"


def _reasoning(attempt: Attempt) -> list[RenderableType]:
    from llm_pool.cli.drawing import text

    lines = [line for line in attempt.reasoning.splitlines() if line.strip()]
    shown = [line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…" for line in lines[:_MAX_LINES]]
    parts: list[RenderableType] = [text(f"  {attempt.provider} thought:")]
    parts += [text(f"    {line}", "dim") for line in shown]
    if len(lines) > _MAX_LINES:
        parts.append(text(f"    … {len(lines) - _MAX_LINES} more lines; --json has them"))
    return parts


def timeline(attempt: Attempt, end: float, width: int) -> str:
    """*attempt* on a scale from 0 to *end* seconds, *width* cells wide."""
    scale = width / end if end > 1e-6 else 0.0
    start = min(width - 1, int(attempt.started * scale))
    stop = min(width, max(start + 1, round((attempt.started + attempt.duration) * scale)))

    def cell(seconds: float) -> int:
        return max(start, min(stop, round((attempt.started + seconds) * scale)))

    asked = cell(attempt.queued) if attempt.queued >= _SHOWN_QUEUE else start
    wrote = stop if attempt.ttft is None else max(asked, cell(attempt.ttft))
    return ("·" * start + "┄" * (asked - start) + "░" * (wrote - asked) + "█" * (stop - wrote)).ljust(width, "·")


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"

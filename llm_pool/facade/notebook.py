"""An answer as HTML for a notebook: self-contained, without script, all of it escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Answer, Attempt, Cluster, Decision

MAX_TEXT = 4000
"""Characters of an answer that are shown; the program has the rest."""
MAX_VOTE = 200
"""Characters of each vote that are shown."""
MAX_NOTE = 500
MIN_QUEUE = 0.001  # seconds: less is no wait
_COLOURS = {"ok": "#2e9e5b", "invalid": "#c78a00", "cancelled": "#8a8f98", "refused": "#8a8f98"}
_FAILED = "#cf4a3c"
_MUTED = "opacity:.7;font-size:90%"
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;background:none"
_TABLE = "border-collapse:collapse;margin:6px 0;border:0"
_BAR = "position:absolute;top:0;bottom:0;min-width:1px"
_TRACK = (
    "position:relative;margin-top:6px;height:12px;min-width:160px;background:rgba(128,128,128,.18);border-radius:3px"
)


def as_html(answer: Answer) -> str:
    """*answer*, what the models voted for, and when each was asked and done."""
    decision = answer.decision
    parts = [_text(answer), _summary(answer), _votes(decision), _waterfall(answer), _notes(decision)]
    return f'<div style="font-family:system-ui,sans-serif;line-height:1.45">{"".join(parts)}</div>'


def _text(answer: Answer) -> str:
    text = answer.content
    if answer.json is not None:
        text = msgspec.json.format(msgspec.json.encode(answer.json)).decode()
    font = "inherit" if answer.json is None else "ui-monospace,monospace"
    return f'<div style="white-space:pre-wrap;font-family:{font};margin:0 0 6px">{_shown(text, MAX_TEXT)}</div>'


def _summary(answer: Answer) -> str:
    decision = answer.decision
    said = [f"{answer.winner} ({answer.winner_model})", answer.strategy_used.value, _seconds(answer.duration)]
    if decision.agreement is not None:
        said.append(f"agreement {decision.agreement:.2f}")
    if answer.from_cache:
        said.append("from the cache")
    if answer.finish != "stop":
        said.append(f"cut: {answer.finish}")
    return f'<div style="{_MUTED}">{escape(" · ".join(said))}<br>{_shown(decision.reason, MAX_NOTE)}</div>'


def _votes(decision: Decision) -> str:
    """What each cluster says, and who is in it; nothing where there was no vote."""
    if not decision.clusters:
        return ""
    rows = "".join(_row(*cells) for cells in _clusters(decision))
    return _table(("weight", "said by", "answer"), rows)


def _clusters(decision: Decision) -> Iterator[tuple[str, str, str]]:
    for cluster in decision.clusters:
        star = "★ " if decision.winner in cluster.providers else ""
        yield (
            f"{cluster.score:.3g}",
            escape(star + ", ".join(cluster.providers)),
            _shown(_said(cluster, decision), MAX_VOTE),
        )


def _said(cluster: Cluster, decision: Decision) -> str:
    readings = (a.reading for a in decision.attempts if a.provider in cluster.providers and a.why != "judge")
    return cluster.label or next((reading.content for reading in readings if reading is not None), "")


def _waterfall(answer: Answer) -> str:
    """When each call began, left our queue, wrote its first token, and ended: the paler, the longer ago."""
    attempts = answer.decision.attempts
    if not attempts:
        return ""
    whole = max((attempt.started + attempt.duration for attempt in attempts), default=0.0) or 1.0
    rows = "".join(_row(*_call(attempt, whole)) for attempt in attempts)
    return _table(("model", "why", "from question to answer", "outcome"), rows)


def _call(attempt: Attempt, whole: float) -> tuple[str, str, str, str]:
    colour = _COLOURS.get(attempt.outcome, _FAILED)
    first = attempt.duration if attempt.ttft is None else attempt.ttft
    phases = ((0.0, attempt.queued, 0.25), (attempt.queued, first, 0.55), (first, attempt.duration, 1.0))
    bars = "".join(
        f'<div style="{_BAR};left:{100 * (attempt.started + begin) / whole:.1f}%;'
        f'width:{100 * (end - begin) / whole:.1f}%;background:{colour};opacity:{opacity}"></div>'
        for begin, end, opacity in phases
        if end > begin
    )
    bar = f'<div style="{_TRACK}">{bars}</div>'
    told = [attempt.outcome.replace("_", " "), _seconds(attempt.duration)]
    if attempt.queued >= MIN_QUEUE:
        told.append(f"queued {_seconds(attempt.queued)}")
    if attempt.first_token is not None:
        told.append(f"first token {_seconds(attempt.first_token)}")
    if attempt.error:
        told.append(attempt.error)
    return escape(attempt.provider), escape(attempt.why), bar, _shown(", ".join(told), MAX_VOTE)


def _notes(decision: Decision) -> str:
    notes = ([f"degraded: {decision.degraded_reason}"] if decision.degraded else []) + list(decision.notes)
    return "".join(f'<div style="{_MUTED}">{_shown(note, MAX_NOTE)}</div>' for note in notes)


def _table(heads: tuple[str, ...], rows: str) -> str:
    head = "".join(f'<th scope="col" style="{_CELL};{_MUTED}">{name}</th>' for name in heads)
    return f'<table style="{_TABLE}"><tr style="background:none">{head}</tr>{rows}</table>'


def _row(*cells: str) -> str:
    columns = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
    return f'<tr style="background:none">{columns}</tr>'


def _shown(text: str, most: int) -> str:
    return escape(text if len(text) <= most else f"{text[:most]}…")


def _seconds(span: float) -> str:
    return f"{span * 1000:.0f} ms" if span < 1 else f"{span:.2f} s"

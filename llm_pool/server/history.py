"""What happened lately, for the status page: requests that ended, and how fast each provider has been."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from llm_pool.messages import Answered, AttemptEnded, Refused
from llm_pool.telemetry.hiding import attempt_error, hidden, sentence
from llm_pool.wire import answer_json, error_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_pool.messages import Answer, Attempt, Event, Json, Query

LATEST = 100
"""Calls to a provider that its pace is told from."""
LONGEST = 4000
"""Characters of a prompt or an answer that are kept, where they are."""


class Ended(msgspec.Struct, frozen=True):
    """A request that ended; *number* grows by one with each, whoever asked."""

    number: int
    tenant_id: str
    told: dict[str, Json]


class History:
    """
    An observer that remembers the latest requests.

    Args:
        recent: how many.
        capture: whether prompts and answers are kept too.
        wall: Unix seconds.
    """

    def __init__(self, recent: int, wall: Callable[[], float], *, capture: bool = False) -> None:
        self._ended = deque[Ended](maxlen=recent)
        self._wall, self.captures = wall, capture
        self._number = 0
        self._paces: dict[str, Pace] = {}

    def on(self, event: Event) -> None:
        """Remember the end of a request or of a call."""
        match event:
            case AttemptEnded():
                self.pace(event.attempt.provider).note(event.attempt)
            case Answered():
                told = answer_json(event.answer)
                told = told | _said(event.answer) if self.captures else hidden(told)
                self._remember(event.query, told)
            case Refused():
                self._remember(event.query, self._refused(event))
            case _:
                pass

    def since(self, number: int, tenant_id: str | None) -> Iterator[Ended]:
        """Requests after *number* that are still remembered; those of *tenant_id*, or of all tenants if None."""
        return (
            ended
            for ended in self._ended
            if ended.number > number and (tenant_id is None or ended.tenant_id == tenant_id)
        )

    @property
    def latest(self) -> int:
        """The number of the last request."""
        return self._number

    def pace(self, provider: str) -> Pace:
        """How fast *provider* has been."""
        return self._paces.setdefault(provider, Pace())

    def _refused(self, event: Refused) -> dict[str, Json]:
        told = error_json(event.error)
        if not self.captures:
            told = hidden(told)
            told["error"] = told["error"] | {"message": sentence(event.error)}
        ended = {"request_id": event.query.request_id, "duration_ms": round(event.duration * 1000, 3)}
        return {**ended, "degraded": False, **told}

    def _remember(self, query: Query, told: dict[str, Json]) -> None:
        self._number += 1
        about: dict[str, Json] = {
            "number": self._number,
            "at": self._wall(),
            "tenant_id": query.tenant_id,
            "project_id": query.project_id,
            "task": query.task[:64],
            "strategy": None if query.strategy is None else query.strategy.value,
        }
        if self.captures:
            about["prompt"] = query.prompt[:LONGEST]
        self._ended.append(Ended(self._number, query.tenant_id, told | about))


def _said(answer: Answer) -> dict[str, Json]:
    """What each provider said."""
    said = {a.provider: a.reading.content for a in answer.decision.attempts if a.reading is not None}
    return {"said": {provider: text[:LONGEST] for provider, text in said.items()}}


class Pace:
    """The latest calls to one provider."""

    def __init__(self) -> None:
        self._ttfts = deque[float](maxlen=LATEST)
        self._rates = deque[float](maxlen=LATEST)
        self._oks = deque[bool](maxlen=LATEST)
        self.last_error = ""

    def note(self, attempt: Attempt) -> None:
        """Take in a call that ended."""
        if attempt.ttft is not None:
            self._ttfts.append(attempt.ttft)
            tokens, span = attempt.usage.completion_tokens, attempt.duration - attempt.ttft
            if tokens is not None and tokens > 1 and span > 0:
                self._rates.append((tokens - 1) / span)
        if attempt.outcome not in {"cancelled", "refused"}:
            self._oks.append(attempt.outcome == "ok")
        if attempt.error and attempt.outcome != "refused":
            self.last_error = attempt_error(attempt)[:200]

    def told(self) -> dict[str, Json]:
        """As JSON; null where nothing is known."""
        return {
            "ttft_p50_ms": _ms(_quantile(self._ttfts, 0.5)),
            "ttft_p95_ms": _ms(_quantile(self._ttfts, 0.95)),
            "ttfts_ms": [_ms(ttft) for ttft in list(self._ttfts)[-30:]],
            "tokens_per_second": _round(_quantile(self._rates, 0.5)),
            "ok_share": _round(sum(self._oks) / len(self._oks)) if self._oks else None,
            "last_error": self.last_error or None,
        }


def _quantile(values: deque[float], q: float) -> float | None:
    """The nearest-rank quantile; None of nothing."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)

"""What happened lately, for the status page: requests that ended, and how fast each provider has been."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from llm_pool.core.events import AttemptEnded, RequestAnswered, RequestFailed
from llm_pool.core.messages import Answer, Json, Reading
from llm_pool.telemetry.redaction import attempt_error, redacted, redacted_message
from llm_pool.wire.json import answer_json, error_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Attempt, Query

STATS_WINDOW = 100
"""Calls to a provider that its pace is told from."""
MAX_NAME = 200
"""Characters of an id or a name that a client sent."""
MAX_TEXT = 4000
"""Characters of a prompt or an answer that are kept, where they are."""
_NO_VERDICT = frozenset({"cancelled", "refused"})
"""Outcomes that say nothing of a provider."""
_NO_READING = Reading("", None)
_NOTHING: dict[str, Json] = {}


class RequestRecord(msgspec.Struct, frozen=True):
    """
    A request that ended.

    Attributes:
        number: grows with each, whoever asked.
        about: the request, as JSON.
        answer: without its texts; None where *body* says how the request ended.
    """

    number: int
    tenant_id: str
    about: dict[str, Json]
    answer: Answer | None = None
    body: dict[str, Json] = {}

    @property
    def as_json(self) -> dict[str, Json]:
        """The request and its end, as JSON."""
        return (self.body if self.answer is None else redacted(answer_json(self.answer))) | self.about


class History:
    """
    An observer that remembers the latest requests.

    Args:
        recent: how many.
        capture: whether prompts and answers are kept too.
        wall: Unix seconds.
        numbers: the numbers of records, each higher than the one before; None counts from 1.
    """

    def __init__(
        self,
        recent: int,
        wall: Callable[[], float],
        *,
        capture: bool = False,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self._ended = deque[RequestRecord](maxlen=recent)
        self._wall, self.captures = wall, capture
        self._number, self._numbers = 0, numbers or count(1)
        self._stats: dict[str, ProviderStats] = {}

    def on(self, event: Event) -> None:
        """Remember the end of a request or of a call."""
        match event:
            case AttemptEnded():
                self.stats(event.attempt.provider).note(event.attempt)
            case RequestAnswered():
                if self.captures:
                    self._remember(event.query, body=answer_json(event.answer) | _texts(event.answer))
                else:
                    self._remember(event.query, answer=_without_texts(event.answer))
            case RequestFailed():
                self._remember(event.query, body=self._refused(event))
            case _:
                pass

    def since(self, number: int, tenant_id: str | None) -> Iterator[RequestRecord]:
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

    def stats(self, provider: str) -> ProviderStats:
        """How fast *provider* has been."""
        known = self._stats.get(provider)
        if known is None:
            known = self._stats[provider] = ProviderStats()
        return known

    def _refused(self, event: RequestFailed) -> dict[str, Json]:
        as_json = error_json(event.error)
        if not self.captures:
            as_json = redacted(as_json)
            as_json["error"] = as_json["error"] | {"message": redacted_message(event.error)}
        ended = {"request_id": name_of(event.query), "duration_ms": round(event.duration * 1000, 3)}
        return {**ended, "degraded": False, **as_json}

    def _remember(self, query: Query, *, answer: Answer | None = None, body: dict[str, Json] = _NOTHING) -> None:
        self._number = next(self._numbers)
        about: dict[str, Json] = {
            "number": self._number,
            "at": self._wall(),
            "tenant_id": query.tenant_id[:MAX_NAME],
            "project_id": query.project_id[:MAX_NAME],
            "task": query.task[:64],
            "strategy": None if query.strategy is None else query.strategy.value,
        }
        if self.captures:
            about["prompt"] = query.prompt[:MAX_TEXT]
        self._ended.append(RequestRecord(self._number, query.tenant_id[:MAX_NAME], about, answer, body))


def name_of(query: Query) -> str:
    """The id of *query*, cut where it is too long to be one."""
    return (query.request_id or query.correlation_id)[:MAX_NAME]


def _without_texts(answer: Answer) -> Answer:
    """
    *answer* without what models said, which may be long: as JSON it is the same, once redacted.

    That JSON is made when somebody looks: most of what is remembered is forgotten before anybody does.
    """
    decision = answer.decision
    attempts = tuple(map(_without_text, decision.attempts))
    decision = replace(decision, reading=_NO_READING, judge=None, attempts=attempts)
    return replace(answer, content="", json=None, decision=decision)


def _without_text(attempt: Attempt) -> Attempt:
    if attempt.reading is None:
        return attempt if not attempt.cut else replace(attempt, cut="")
    return replace(attempt, reading=Reading("", None, attempt.reading.repair), cut="", logprobs=())


def _texts(answer: Answer) -> dict[str, Json]:
    """What each provider said."""
    texts = {a.provider: a.reading.content for a in answer.decision.attempts if a.reading is not None}
    return {"said": {provider: text[:MAX_TEXT] for provider, text in texts.items()}}


class ProviderStats:
    """The latest calls to one provider."""

    def __init__(self) -> None:
        self._queued, self._writing = deque[float](maxlen=STATS_WINDOW), deque[float](maxlen=STATS_WINDOW)
        self._first_tokens = deque[float](maxlen=STATS_WINDOW)
        self._rates = deque[float](maxlen=STATS_WINDOW)
        self._oks = deque[bool](maxlen=STATS_WINDOW)
        self.last_error = ""

    def note(self, attempt: Attempt) -> None:
        """Take in a call that ended."""
        self._queued.append(attempt.queued)
        outcome, writing = attempt.outcome, attempt.writing
        if writing is not None:
            self._first_tokens.append(attempt.first_token or 0.0)
            tokens = attempt.usage.completion_tokens
            if tokens is not None and tokens > 1 and writing:
                self._rates.append((tokens - 1) / writing)
            if outcome == "ok":
                self._writing.append(writing)
        if outcome not in _NO_VERDICT:
            self._oks.append(outcome == "ok")
        if attempt.error and outcome != "refused":
            self.last_error = attempt_error(attempt)[:200]

    def as_json(self) -> dict[str, Json]:
        """As JSON; null where nothing is known."""
        return {
            "queue_p50_ms": _ms(_quantile(self._queued, 0.5)),
            "queue_p95_ms": _ms(_quantile(self._queued, 0.95)),
            "ttft_p50_ms": _ms(_quantile(self._first_tokens, 0.5)),
            "ttft_p95_ms": _ms(_quantile(self._first_tokens, 0.95)),
            "ttfts_ms": [_ms(first_token) for first_token in list(self._first_tokens)[-30:]],
            "writing_p50_ms": _ms(_quantile(self._writing, 0.5)),
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

"""
What Prometheus is told. ``docs/observability.md`` lists every metric; a test compares.

Counters and histograms are written as events come; the rest, and the page, is made when somebody scrapes. Each server
has a registry of its own.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.events import (
    AccessDenied,
    AttemptEnded,
    BreakerChanged,
    KeyUsed,
    ReasoningArrived,
    Reloaded,
    RequestAnswered,
    RequestFailed,
    RequestQueued,
    TextArrived,
    ToolCallArrived,
)
from llm_pool.telemetry.deduplication import DecisionDeduplicator
from llm_pool.telemetry.labels import NONE, OTHER, BoundedLabels, SeriesBudget
from llm_pool.telemetry.series import Counters, Histograms
from llm_pool.wire.json import error_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Attempt, Query
    from llm_pool.telemetry.series import Histogram
    from llm_pool.telemetry.snapshot import PoolSnapshot

NAMES = 64
"""Tenants, and projects, with a name of their own."""
MAX_SERIES = 4000
"""
Time series of all counters and histograms; half of them are for the request histogram, whose labels clients choose.

What comes when they are spent counts under labels that are all ``other``, one child for each metric.
"""
BREAKER_STATES = {"closed": 0.0, "half-open": 1.0, "open": 2.0}


class Metrics:
    """An observer that counts; ``page`` is what it counted."""

    def __init__(self) -> None:
        self._gauges = _Gauges()
        self._families: list[Counters | Histograms] = []
        self._tenants, self._projects, self._keys = BoundedLabels(NAMES), BoundedLabels(NAMES), BoundedLabels(NAMES)
        self._reasons = BoundedLabels(NAMES)
        self._wins = dict[tuple[str, str], _Wins]()
        self._answers = self._hits = 0
        self._deduplicator = DecisionDeduplicator()

        asked, rest = SeriesBudget(MAX_SERIES // 2), SeriesBudget(MAX_SERIES // 2)

        def counter(name: str, about: str, *labels: str) -> Counters:
            self._families.append(made := Counters(name, about, labels, rest))
            return made

        def histogram(name: str, about: str, *labels: str, budget: SeriesBudget = rest) -> Histograms:
            self._families.append(made := Histograms(name, about, labels, budget))
            return made

        self._durations = histogram(
            "infer_duration_seconds",
            "Requests, from admission to their end.",
            *("tenant", "project", "task", "strategy", "provider"),
            budget=asked,
        )
        self._requests = counter("requests", "Requests that ended.", "task", "outcome")
        self._decisions = counter("ensemble_decision", "Decisions, by the strategy that made them.", "strategy")
        self._fallbacks = counter("ensemble_fallback", "Decisions that another strategy made.", "asked", "used")
        self._degraded = counter("degraded", "Answers that bend a promise.", "task")
        self._saved = counter("saved_calls", "Calls that a decision made early spared.", "strategy")
        self._attempts = counter("attempts", "Calls to providers that ended.", "provider", "task", "outcome")
        self._failures = counter("attempt_failures", "Calls without an answer, by why.", "provider", "task", "kind")
        self._timeouts = counter("timeouts", "Calls that ran out of time.", "provider", "task")
        self._hedges = counter("hedges", "Second calls because the first was late.", "provider", "task")
        self._hedge_wins = counter("hedge_wins", "Hedges whose answer was taken.", "provider", "task")
        self._tokens = counter("tokens", "Tokens as backends counted them.", "provider", "task", "kind")
        self._waits = counter("queue_waits", "Calls that waited for a slot.", "group")
        self._opened = counter("breaker_open", "Times a breaker opened.", "provider", "task")
        self._reloads = counter("reloads", "Readings of a changed configuration.", "result")
        self._turned_away = counter(
            "access_denied", "Requests refused by authentication, authorization or a rate limit.", "reason"
        )
        self._key_uses = counter("key_uses", "Signed requests, by the secret that signed.", "key", "slot")
        self._ttft = histogram(
            "time_to_first_token_seconds",
            "Calls, from their slot on the machine to the first token, thought or said.",
            "provider",
            "task",
        )
        self._queued = histogram("queue_seconds", "Calls, in our own queue before their machine.", "provider", "task")
        self._writing = histogram(
            "writing_seconds", "Calls that gave an answer, from its first token to its end.", "provider", "task"
        )
        self._spans = histogram("attempt_duration_seconds", "Calls that gave an answer.", "provider", "task")

    def on(self, event: Event) -> None:
        """Count *event*."""
        match event:
            case TextArrived() | ReasoningArrived() | ToolCallArrived():
                pass  # most events by far
            case AttemptEnded():
                self._attempt(event.task, event.attempt)
            case RequestAnswered():
                self._answered(event.query, event.answer)
            case RequestFailed():
                self._refused(event)
            case RequestQueued():
                self._waits.of(event.group).inc()
            case BreakerChanged() if event.after == "open":
                self._opened.of(event.provider, event.task).inc()
            case AccessDenied():
                self._turned_away.of(self._reasons.name(event.reason)).inc()
            case KeyUsed():
                self._key_uses.of(self._keys.name(event.key), event.slot).inc()
            case Reloaded() if event.error is not None or event.generation > 1:
                self._reloads.of("taken" if event.error is None else "refused").inc()
            case _:
                pass

    @property
    def answers(self) -> int:
        """Answers that were given, those from the cache included."""
        return self._answers

    @property
    def hit_ratio(self) -> float:
        """Share of the answers that came from the cache; 0 without any."""
        return self._hits / self._answers if self._answers else 0.0

    def win_rate(self, provider: str) -> float | None:
        """Share of the decisions in which *provider* gave an answer that it won, over all tasks; None without any."""
        wins = [wins for (name, _), wins in self._wins.items() if name == provider]
        answered = sum(win.answered for win in wins)
        return sum(win.won for win in wins) / answered if answered else None

    def page(self, snapshot: PoolSnapshot, accept: str) -> Callable[[], tuple[bytes, str]]:
        """
        Everything, in the format that *accept* prefers.

        Returns:
            Makes the page and its content type; takes milliseconds and may run on another thread.
        """
        self._gauges.families = [*_snapshot_gauges(snapshot), *self._ratios()]
        return lambda: self._made(accept)

    def _made(self, accept: str) -> tuple[bytes, str]:
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    @cached_property
    def _registry(self) -> CollectorRegistry:
        """What is on the page; Prometheus's own library is needed by those only who are scraped."""
        from prometheus_client import CollectorRegistry, ProcessCollector

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._gauges)
        ProcessCollector(registry=registry)
        for family in self._families:
            registry.register(family)
        return registry

    def _attempt(self, task: str, attempt: Attempt) -> None:
        provider, outcome, usage = attempt.provider, attempt.outcome, attempt.usage
        self._attempts.of(provider, task, outcome).inc()
        self._queued.of(provider, task).observe(attempt.queued)
        if (first_token := attempt.first_token) is not None:
            self._ttft.of(provider, task).observe(first_token)
        if outcome == "ok":
            self._spans.of(provider, task).observe(attempt.duration)
            if (writing := attempt.writing) is not None:
                self._writing.of(provider, task).observe(writing)
        elif outcome == "timed_out":
            self._timeouts.of(provider, task).inc()
        if attempt.error_kind:
            self._failures.of(provider, task, attempt.error_kind).inc()
        if attempt.why == "hedge":
            self._hedges.of(provider, task).inc()
        if usage.prompt_tokens:
            self._tokens.of(provider, task, "prompt").inc(usage.prompt_tokens)
        if usage.completion_tokens:
            self._tokens.of(provider, task, "completion").inc(usage.completion_tokens)

    def _answered(self, query: Query, answer: Answer) -> None:
        strategy = answer.strategy_used.value
        self._requests.of(answer.task, "cached" if answer.from_cache else "answered").inc()
        self._durations_of(query, answer.task, strategy, answer.winner).observe(answer.duration)
        self._answers += 1
        self._hits += answer.from_cache
        if self._deduplicator.is_first(answer):
            self._note_decision(answer)

    def _note_decision(self, answer: Answer) -> None:
        decision, task = answer.decision, answer.task
        self._decisions.of(decision.used.value).inc()
        if decision.used is not decision.asked:
            self._fallbacks.of(decision.asked.value, decision.used.value).inc()
        if decision.degraded:
            self._degraded.of(task).inc()
        if decision.saved:
            self._saved.of(decision.used.value).inc(decision.saved)
        for attempt in decision.attempts:
            if attempt.outcome == "ok" and attempt.why != "judge":
                wins = self._wins.setdefault((attempt.provider, task), _Wins())
                wins.answered += 1
                wins.won += attempt.provider == decision.winner
                if attempt.why == "hedge" and attempt.provider == decision.winner:
                    self._hedge_wins.of(attempt.provider, task).inc()

    def _refused(self, event: RequestFailed) -> None:
        error, query = event.error, event.query
        unknown = isinstance(error, InvalidRequest) and error.field == "task"
        task, strategy = OTHER if unknown else query.task, query.strategy
        self._requests.of(task, error_code(error)).inc()
        self._durations_of(query, task, NONE if strategy is None else strategy.value, NONE).observe(event.duration)

    def _durations_of(self, query: Query, task: str, strategy: str, provider: str) -> Histogram:
        tenant, project = self._tenants.name(query.tenant_id), self._projects.name(query.project_id)
        return self._durations.of(tenant, project, task, strategy, provider)

    def _ratios(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        rates = GaugeMetricFamily(
            "llmpool_provider_win_rate", "Decisions won of those it gave an answer in.", labels=["provider", "task"]
        )
        for key, wins in self._wins.items():
            rates.add_metric(key, wins.won / wins.answered)
        yield rates
        yield GaugeMetricFamily("llmpool_cache_hit_ratio", "Answers that came from the cache.", value=self.hit_ratio)


class _Wins:
    """Decisions that a provider gave an answer in, and those it won."""

    __slots__ = ("answered", "won")

    def __init__(self) -> None:
        self.answered = self.won = 0


class _Gauges:
    """A collector of what was put in ``families``."""

    def __init__(self) -> None:
        self.families: list[Metric] = []

    def collect(self) -> list[Metric]:
        """The families."""
        return self.families


def _snapshot_gauges(snapshot: PoolSnapshot) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    def gauge(name: str, about: str, values: Mapping[Any, float], *labels: str) -> Metric:
        family = GaugeMetricFamily(f"llmpool_{name}", about, labels=labels)
        for key, value in values.items():
            family.add_metric(key, value)
        return family

    machines = snapshot.machines
    yield gauge("build_info", "The version that runs.", {(snapshot.version,): 1.0}, "version")
    yield gauge(
        "config_generation", "Configurations taken since the start, the first included.", {(): snapshot.generation}
    )
    yield gauge("config_reload_ok", "Whether the last configuration was taken.", {(): snapshot.reload_ok})
    yield gauge("config_reload_timestamp_seconds", "When the configuration was last read.", {(): snapshot.reload_at})
    yield gauge("in_flight", "Requests being answered.", {(): snapshot.in_flight})
    yield gauge("asyncio_tasks", "Tasks on the event loop.", {(): snapshot.tasks})
    yield gauge("budget_left", "Further calls that could be paid for now.", {(): snapshot.budget_left})
    yield gauge("queue_waiting", "Calls that wait for a slot.", {(m.group,): m.waiting for m in machines}, "group")
    yield gauge("slots_busy", "Slots that are taken.", {(m.group,): m.busy for m in machines}, "group")
    yield gauge("slots", "Slots there are.", {(m.group,): m.slots for m in machines}, "group")
    breakers = {key: BREAKER_STATES[state] for key, state in snapshot.breakers.items()}
    yield gauge("breaker_state", "0 closed, 1 half-open, 2 open.", breakers, "provider", "task")
    healthy = {(name,): float(is_healthy) for name, is_healthy in snapshot.healthy.items()}
    yield gauge("provider_healthy", "Whether its backend can answer now.", healthy, "provider")

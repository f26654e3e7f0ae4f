"""What several workers say of themselves, as one: counts are added, of states the worst is told."""

from __future__ import annotations

from collections import Counter, defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from llm_pool.core.messages import Json

VERDICTS = ("serving", "degraded", "stopping", "down")
BREAKERS = ("closed", "half-open", "open")
ADDED = frozenset(
    {
        "llmpool_in_flight",
        "llmpool_asyncio_tasks",
        "llmpool_budget_left",
        "llmpool_queue_waiting",
        "llmpool_slots_busy",
        "llmpool_slots",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    }
)
"""Gauges of a part of the whole."""
HIT_RATIO = "llmpool_cache_hit_ratio"
SHARES = frozenset({HIT_RATIO, "llmpool_provider_win_rate"})
LOWEST = frozenset(
    {
        "llmpool_config_generation",
        "llmpool_config_reload_ok",
        "llmpool_config_reload_timestamp_seconds",
        "llmpool_provider_healthy",
        "process_start_time_seconds",
    }
)
"""Gauges of which the worst, or the first, is told; of all others the highest."""


def merged_status(bodies: Sequence[dict[str, Json]], shared: Collection[str] = ()) -> dict[str, Json]:
    """
    The status of all workers, the first of which was asked; each has all slots of the groups that are *shared*.

    A record that is newer than the oldest of the bodies is left for the next time: another worker's may be missing
    that is older.
    """
    first = dict(bodies[0])
    latest = min(body["latest"] for body in bodies)
    providers = [provider for body in bodies for provider in body["providers"]]
    recent = [record for body in bodies for record in body["recent"] if record["number"] <= latest]
    return first | {
        "uptime_ms": max(body["uptime_ms"] for body in bodies),
        "verdict": _verdict([body["verdict"] for body in bodies]),
        "generation": min(body["generation"] for body in bodies),
        "in_flight": sum(body["in_flight"] for body in bodies),
        "last_reload": min((body["last_reload"] for body in bodies), key=lambda reload: reload["ok"]),
        "budget_left": round(sum(body["budget_left"] for body in bodies), 1),
        "cache_hit_ratio": weighted([(body["cache_hit_ratio"], body["answers"]) for body in bodies]),
        "answers": sum(body["answers"] for body in bodies),
        "providers": [_provider(each, shared) for each in _by(providers, "name")],
        "requests": sorted((r for body in bodies for r in body["requests"]), key=lambda r: -r["elapsed_ms"]),
        "recent": sorted(recent, key=lambda record: record["number"]),
        "latest": latest,
    }


def merged_hours(bodies: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """The last hour of all workers; a percentile is the mean of theirs, by how many requests each had."""
    return {"minutes": [_minute(each) for each in _by([m for body in bodies for m in body["minutes"]], "at")]}


def merged_page(pages: Sequence[str], accept: str, shared: Collection[str] = ()) -> tuple[bytes, str]:
    """
    One page of metrics for *pages*, in the format that *accept* prefers, and its content type.

    Each worker has all slots of the groups that are *shared*.
    """
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(merged_metrics(pages, shared))))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def merged_metrics(pages: Sequence[str], shared: Collection[str] = ()) -> Iterator[Metric]:
    """One family for each metric of *pages*, which are in Prometheus's text format; *shared* as for ``merged_page``."""
    from prometheus_client.core import Metric
    from prometheus_client.parser import text_string_to_metric_families

    families: dict[str, Metric] = {}
    values: dict[_Series, list[tuple[float, float]]] = defaultdict(list)
    for page in pages:
        parsed = list(text_string_to_metric_families(page))
        weigh = _Weights(parsed)
        for family in parsed:
            families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                series = _Series(family.name, sample.name, tuple(sorted(sample.labels.items())))
                values[series].append((sample.value, weigh.of(series)))
    for series, each in values.items():
        family = families[series.family]
        labels = dict(series.labels)
        is_whole = series.name == "llmpool_slots" and labels["group"] in shared
        family.add_sample(series.name, labels, max(each)[0] if is_whole else _merged(family, each))
    yield from families.values()


class _Series(NamedTuple):
    """One line of a page, without its value."""

    family: str
    name: str
    labels: tuple[tuple[str, str], ...]


class _Weights:
    """How much a page's shares count beside those of the others: by how many they are shares of."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._answers = 0.0
        self._attempts: dict[tuple[tuple[str, str], ...], float] = {}
        for sample in (sample for family in families for sample in family.samples):
            outcome = sample.labels.get("outcome")
            if sample.name == "llmpool_requests_total" and outcome in {"answered", "cached"}:
                self._answers += sample.value
            if sample.name == "llmpool_attempts_total" and outcome == "ok":
                labels = tuple(sorted((name, text) for name, text in sample.labels.items() if name != "outcome"))
                self._attempts[labels] = sample.value

    def of(self, series: _Series) -> float:
        """The weight of *series*."""
        return self._answers if series.name == HIT_RATIO else self._attempts.get(series.labels, 0.0)


def _merged(family: Metric, values: Sequence[tuple[float, float]]) -> float:
    """One value of those of all workers, each with its weight."""
    alone = [value for value, _ in values]
    if family.name in SHARES:
        return weighted(values)
    if family.name in LOWEST or family.name.endswith("_created"):
        return min(alone)
    return sum(alone) if family.type in {"counter", "histogram"} or family.name in ADDED else max(alone)


def weighted(values: Sequence[tuple[float, float]]) -> float:
    """The mean of values, each with its weight; the plain one where nothing has any."""
    total = sum(weight for _, weight in values)
    return sum(v * weight for v, weight in values) / total if total else fmean(value for value, _ in values)


class _Collected:
    """A collector of families that are there already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """The families."""
        return self._families


def _verdict(verdicts: Sequence[dict[str, Json]]) -> dict[str, Json]:
    why = dict.fromkeys(reason for each in verdicts for reason in each["why"])
    return {"state": max((each["state"] for each in verdicts), key=VERDICTS.index), "why": list(why)}


def _provider(entries: Sequence[dict[str, Json]], shared: Collection[str]) -> dict[str, Json]:
    """One provider as several workers see it: of its pace the mean of their medians, and the worst percentile."""
    added = {name: sum(entry[name] for entry in entries) for name in ("busy", "slots", "waiting")}
    if entries[0]["group"] in shared:
        added["slots"] = max(entry["slots"] for entry in entries)
    paces = ("queue_p50_ms", "ttft_p50_ms", "writing_p50_ms", "tokens_per_second", "ok_share", "win_rate")
    means = {name: _known(fmean, entries, name) for name in paces}
    worst = {name: _known(max, entries, name) for name in ("queue_p95_ms", "ttft_p95_ms")}
    breakers = [
        max(each, key=lambda breaker: BREAKERS.index(breaker["state"]))
        for each in _by([breaker for entry in entries for breaker in entry["breakers"]], "task")
    ]
    last_error = next((entry["last_error"] for entry in entries if entry["last_error"]), None)
    firsts = [value for entry in entries for value in entry["ttfts_ms"]]
    more = {"breakers": breakers, "last_error": last_error, "ttfts_ms": firsts[-30:]}
    return entries[0] | added | means | worst | more


def _minute(minutes: Sequence[dict[str, Json]]) -> dict[str, Json]:
    counted = ("answered", "cached", "failed", "prompt_tokens", "completion_tokens")
    wins: Counter[str] = Counter()
    for minute in minutes:
        wins.update(minute["wins"])
    return {
        "at": minutes[0]["at"],
        **{name: sum(minute[name] for minute in minutes) for name in counted},
        "p50_ms": _by_requests(minutes, "p50_ms"),
        "p95_ms": _by_requests(minutes, "p95_ms"),
        "tokens_per_second": _known(fmean, minutes, "tokens_per_second"),
        "wins": dict(wins),
    }


def _by_requests(minutes: Sequence[dict[str, Json]], name: str) -> float | None:
    known = [(m[name], m["answered"] + m["cached"]) for m in minutes if m[name] is not None]
    return round(weighted(known), 1) if known else None


def _known(how: Callable[[list[float]], float], entries: Sequence[Mapping[str, Json]], name: str) -> float | None:
    values = [entry[name] for entry in entries if entry[name] is not None]
    return round(how(values), 3) if values else None


def _by(entries: Sequence[dict[str, Json]], name: str) -> list[list[dict[str, Json]]]:
    """Those that have the same *name* together, in the order in which it came first."""
    groups: dict[Any, list[dict[str, Json]]] = {}
    for entry in entries:
        groups.setdefault(entry[name], []).append(entry)
    return list(groups.values())

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llm_pool.core.errors import AllProvidersFailed, InvalidRequest
from llm_pool.core.events import (
    AccessDenied,
    AttemptEnded,
    BreakerChanged,
    KeyUsed,
    Reloaded,
    RequestAnswered,
    RequestFailed,
    RequestQueued,
)
from llm_pool.core.messages import Query, StrategyName, Usage
from llm_pool.telemetry.metrics import MAX_SERIES, NAMES, Metrics
from llm_pool.telemetry.snapshot import Machine, PoolSnapshot
from llm_pool.testing import an_answer

SCRAPED = {"instance", "job"}
"""Labels that Prometheus adds."""
ROOT = Path(__file__).parents[2]
SNAPSHOT = PoolSnapshot(
    version="1.2.3",
    generation=2,
    in_flight=1,
    tasks=5,
    budget_left=4.5,
    machines=(Machine("gpu", 1, 2, 3),),
    breakers={("phi3", "ask"): "open"},
    healthy={"phi3": True},
    reload_at=1.0,
    reload_ok=True,
)


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample on the page but those of the process, by name with its labels; buckets and times left out."""
    body, _ = metrics.page(SNAPSHOT, "")()
    pairs = (line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs if not re.search(r"_bucket|_created|^process_", name)}


def moved(metrics: Metrics, *events: Any) -> dict[str, float]:
    """The samples that *events* change, and by how much; counters only."""
    before = samples(metrics)
    for event in events:
        metrics.on(event)
    after = samples(metrics)
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def everything() -> Metrics:
    """Metrics that have been told of one of each."""
    metrics, answer = Metrics(), an_answer()
    attempt = msgspec.structs.replace(answer.decision.attempts[0], ttft=0.1, usage=Usage(3, 4), why="hedge")
    late = msgspec.structs.replace(attempt, outcome="timed_out", error_kind="timed_out")
    decision = msgspec.structs.replace(
        answer.decision, asked=StrategyName.JUDGE, degraded=True, saved=1, attempts=(attempt,)
    )
    for event in (
        AttemptEnded("r1", "ask", attempt),
        AttemptEnded("r1", "ask", late),
        RequestQueued("r1", "phi3", "gpu", 1),
        RequestAnswered(Query(prompt=""), msgspec.structs.replace(answer, decision=decision)),
        RequestFailed(Query(prompt=""), AllProvidersFailed("ask"), 0.1),
        BreakerChanged("phi3", "ask", "closed", "open"),
        AccessDenied("unknown_key"),
        KeyUsed("k1", "a"),
        Reloaded(2),
    ):
        metrics.on(event)
    return metrics


def test_an_answer_counts_once_and_says_who_for_whom() -> None:
    """One request, one duration, one decision."""
    query = Query(prompt="", tenant_id="acme", project_id="web")

    said = moved(Metrics(), RequestAnswered(query, an_answer()))

    labels = '{project="web",provider="phi3",strategy="FASTEST",task="ask",tenant="acme"}'
    assert said[f"llmpool_infer_duration_seconds_count{labels}"] == 1
    assert said['llmpool_requests_total{outcome="answered",task="ask"}'] == 1
    assert said['llmpool_ensemble_decision_total{strategy="FASTEST"}'] == 1
    assert said['llmpool_provider_win_rate{provider="phi3",task="ask"}'] == 1


def test_a_remembered_answer_is_no_decision() -> None:
    """It moves the hit ratio, and nobody's win rate."""
    metrics = Metrics()
    metrics.on(RequestAnswered(Query(prompt=""), an_answer()))

    said = moved(metrics, RequestAnswered(Query(prompt=""), an_answer(from_cache=True)))

    assert said["llmpool_cache_hit_ratio"] == 0.5
    assert said['llmpool_requests_total{outcome="cached",task="ask"}'] == 1
    assert not any("decision" in name or "win" in name for name in said)


def test_requests_that_share_a_run_share_its_decision() -> None:
    """Two answers, one decision."""
    metrics, answer = Metrics(), an_answer()
    metrics.on(RequestAnswered(Query(prompt=""), answer))

    said = moved(metrics, RequestAnswered(Query(prompt=""), msgspec.structs.replace(answer, request_id="r2")))

    assert 'llmpool_requests_total{outcome="answered",task="ask"}' in said
    assert not any("decision" in name for name in said)


def test_requests_are_the_sum_of_their_outcomes() -> None:
    """However they end, they are in the histogram too."""
    metrics, query = Metrics(), Query(prompt="")
    events = [
        RequestAnswered(query, an_answer()),
        RequestAnswered(query, an_answer(from_cache=True)),
        RequestFailed(query, AllProvidersFailed("ask"), 0.1),
        RequestFailed(Query(prompt="", task="nonsense"), InvalidRequest("task", "unknown task"), 0.0),
    ]

    said = moved(metrics, *events)

    outcomes = {name: value for name, value in said.items() if name.startswith("llmpool_requests_total")}
    assert outcomes == {
        'llmpool_requests_total{outcome="answered",task="ask"}': 1,
        'llmpool_requests_total{outcome="cached",task="ask"}': 1,
        'llmpool_requests_total{outcome="all_providers_failed",task="ask"}': 1,
        'llmpool_requests_total{outcome="invalid_request",task="other"}': 1,
    }
    assert sum(value for name, value in said.items() if "infer_duration_seconds_count" in name) == len(events)


def test_what_clients_make_up_cannot_grow_the_page_without_bounds() -> None:
    """Tenants and projects beyond the bound are ``other``, and so is every product of labels beyond the budget."""
    metrics = Metrics()

    for number in range(1000):
        for name in StrategyName:
            query = Query(prompt="", tenant_id=f"t{number}", project_id=f"p{number % 50}", task=f"task{number % 7}")
            metrics.on(RequestAnswered(query, an_answer(task=query.task, strategy_used=name)))

    said = [name for name in samples(metrics) if "infer_duration_seconds_count" in name]
    page = metrics.page(SNAPSHOT, "application/openmetrics-text")()[0].decode()
    assert len([line for line in page.splitlines() if not line.startswith("#")]) < MAX_SERIES
    assert len({re.findall('tenant="(.*?)"', name)[0] for name in said}) <= NAMES + 1
    assert any('tenant="other"' in name and 'strategy="other"' in name for name in said)
    total = sum(value for name, value in samples(metrics).items() if "infer_duration_seconds_count" in name)
    assert total == 1000 * len(StrategyName)


def test_no_product_of_providers_tasks_and_outcomes_is_without_bounds() -> None:
    """Those of one's own configuration neither."""
    metrics = Metrics()

    for number in range(MAX_SERIES):
        attempt = msgspec.structs.replace(an_answer().decision.attempts[0], provider=f"p{number % 100}", ttft=0.1)
        metrics.on(AttemptEnded("r", f"task{number}", attempt))

    page = metrics.page(SNAPSHOT, "application/openmetrics-text")()[0].decode()
    assert len([line for line in page.splitlines() if not line.startswith("#")]) < MAX_SERIES
    assert samples(metrics)['llmpool_attempts_total{outcome="other",provider="other",task="other"}'] > 0


def test_the_start_is_no_reload() -> None:
    """Only changes count, by their result."""
    metrics = Metrics()

    said = moved(metrics, Reloaded(1), Reloaded(2), Reloaded(2, AllProvidersFailed("x")))

    assert said == {'llmpool_reloads_total{result="taken"}': 1, 'llmpool_reloads_total{result="refused"}': 1}


def test_gauges_say_how_the_pool_stands() -> None:
    """As of the scrape."""
    said = samples(Metrics())

    assert said['llmpool_breaker_state{provider="phi3",task="ask"}'] == 2
    assert said['llmpool_queue_waiting{group="gpu"}'] == 3
    assert said["llmpool_budget_left"] == 4.5


def test_two_servers_count_apart() -> None:
    """Each has a registry of its own."""
    first, second = Metrics(), Metrics()

    first.on(AccessDenied("unknown_key"))

    assert not any("access_denied" in name for name in samples(second))


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
def test_the_page_can_be_parsed(accept: str) -> None:
    """By Prometheus's own parsers."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as plain

    body, content_type = everything().page(SNAPSHOT, accept)()

    parse = openmetrics if accept else plain
    assert "llmpool_requests" in " ".join(family.name for family in parse(body.decode()))
    assert content_type.startswith("application/openmetrics-text" if accept else "text/plain")


def exported() -> dict[str, set[str]]:
    """Every metric of ours by the names one can query, with its labels."""
    from prometheus_client.parser import text_string_to_metric_families as plain

    body, _ = everything().page(SNAPSHOT, "")()
    found: dict[str, set[str]] = {}
    for family in plain(body.decode()):
        for sample in family.samples:
            if sample.name.startswith("llmpool_"):
                found.setdefault(sample.name, set()).update(sample.labels)
    return found


def queries() -> list[tuple[str, str]]:
    """Every query of the dashboard, with the title of its panel, and those of its variables."""
    board = json.loads((ROOT / "docs/grafana.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel["targets"]]
    return found + [(v["name"], v["query"]["query"]) for v in board["templating"]["list"] if v["type"] == "query"]


@pytest.mark.parametrize(("title", "query"), queries())
def test_the_dashboard_asks_for_what_there_is(title: str, query: str) -> None:
    """Each metric exists, and so does each label that a query selects or groups by."""
    known = exported()

    named = re.findall(r"(?:llmpool|process)_\w+", query)
    assert named
    for name in named:
        if name.startswith("process_"):
            continue
        assert name in known, f"{title}: no metric {name}"
        selected = re.findall(name + r"\{(.*?)\}", query)
        labels = {label for chosen in selected for label in re.findall(r"(\w+)\s*[=!]~?", chosen)}
        labels |= {label.strip() for group in re.findall(r"by\s*\((.*?)\)", query) for label in group.split(",")}
        assert labels <= known[name] | SCRAPED, f"{title}: {name} has no {labels - known[name]}"


def test_the_documentation_lists_every_metric_with_its_labels() -> None:
    """And none that does not exist."""
    page = (ROOT / "docs/observability.md").read_text()
    rows = re.findall(r"^\| `(llmpool_\w+?)(?:\{(.*?)\})?` \|", page, re.MULTILINE)
    documented = {name: {label for label in labels.split(",") if label} for name, labels in rows}

    known = {re.sub(r"_(bucket|count|sum)$", "", name): labels - {"le"} for name, labels in exported().items()}
    assert documented == {name: labels for name, labels in known.items() if not name.endswith("_created")}

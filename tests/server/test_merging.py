"""What several workers say, as one: counts are added, of states the worst is told."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llm_pool.core.events import RequestAnswered
from llm_pool.core.messages import Query
from llm_pool.server.merging import merged_hours, merged_page, merged_status, weighted
from llm_pool.telemetry.metrics import Metrics
from llm_pool.telemetry.snapshot import Machine, PoolSnapshot
from llm_pool.testing import an_answer


def page(answers: int, *, cached: int, slots: int, healthy: bool = True) -> str:
    """As a worker makes it that gave so many *answers*, *cached* of them from the cache."""
    import msgspec

    metrics = Metrics()
    for number in range(answers):
        answer = msgspec.structs.replace(an_answer(), from_cache=number < cached, duration=0.2)
        metrics.on(RequestAnswered(Query(prompt="hello"), answer))
    snapshot = PoolSnapshot(
        version="1",
        generation=1,
        in_flight=slots,
        tasks=5,
        budget_left=1.0,
        machines=(Machine("box", 1, slots, 0),),
        breakers={("a", "ask"): "open" if slots == 1 else "closed"},
        healthy={"a": healthy},
        reload_at=100.0 + slots,
        reload_ok=True,
    )
    return metrics.page(snapshot, "")()[0].decode()


def values(text: str) -> dict[str, float]:
    """Of each series with one name, the sum."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_counts_are_added_and_shares_weighed() -> None:
    """A histogram too, bucket by bucket; a gauge that is part of the whole is added, of a state the worst counts."""
    one, other = page(9, cached=9, slots=1, healthy=False), page(1, cached=0, slots=3)

    both = values(merged_page([one, other], "")[0].decode())

    assert both["llmpool_requests_total"] == 10
    assert both["llmpool_infer_duration_seconds_count"] == 10
    assert both["llmpool_infer_duration_seconds_bucket"] == sum(
        values(each)["llmpool_infer_duration_seconds_bucket"] for each in (one, other)
    )
    assert both["llmpool_cache_hit_ratio"] == pytest.approx(0.9)
    assert (both["llmpool_slots"], both["llmpool_in_flight"]) == (4, 4)
    assert values(merged_page([one, other], "", {"box"})[0].decode())["llmpool_slots"] == 3  # counted in Redis
    assert both["llmpool_provider_healthy"] == 0
    assert both["llmpool_breaker_state"] == 2
    assert both["llmpool_config_generation"] == 1
    assert both["llmpool_build_info"] == 1


def test_one_page_stays_as_it_is() -> None:
    """Every series, with its value, in both formats."""
    alone = page(3, cached=1, slots=2)

    assert values(merged_page([alone], "")[0].decode()) == values(alone)
    body, kind = merged_page([alone], "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_a_mean_is_weighed() -> None:
    """Where nothing has any weight, all count the same."""
    assert weighted([(1.0, 3), (0.0, 1)]) == 0.75
    assert weighted([(1.0, 0), (0.0, 0)]) == 0.5


def status(**fields: Any) -> dict[str, Any]:
    provider = {
        "name": "a",
        "group": "box",
        "state": "healthy",
        "busy": 1,
        "slots": 2,
        "waiting": 3,
        "breakers": [],
        "queue_p50_ms": 1.0,
        "queue_p95_ms": 2.0,
        "ttft_p50_ms": None,
        "ttft_p95_ms": None,
        "ttfts_ms": [1.0],
        "writing_p50_ms": 4.0,
        "tokens_per_second": 10.0,
        "ok_share": 1.0,
        "win_rate": None,
        "last_error": None,
    }
    return {
        "uptime_ms": 10,
        "verdict": {"state": "serving", "why": []},
        "generation": 2,
        "in_flight": 1,
        "last_reload": {"ok": True},
        "budget_left": 1.0,
        "cache_hit_ratio": 0.0,
        "answers": 1,
        "providers": [provider | fields.pop("provider", {})],
        "requests": [],
        "recent": [],
        "latest": 100,
        **fields,
    }


def test_the_status_is_of_all_workers() -> None:
    """The worst verdict with all its reasons, every request in flight, and each provider once."""
    ill = {"state": "degraded", "why": ["a: gone"]}
    open_breaker = {"breakers": [{"task": "ask", "state": "open"}], "ttft_p50_ms": 30.0, "queue_p95_ms": 8.0}
    half = {"breakers": [{"task": "ask", "state": "half-open"}], "ttft_p50_ms": 10.0, "last_error": "gone"}
    one = status(provider=half, cache_hit_ratio=1.0, answers=3, requests=[{"number": 2, "elapsed_ms": 5}])
    two = status(provider=open_breaker, verdict=ill, generation=1, requests=[{"number": 3, "elapsed_ms": 9}])

    both = merged_status([one, two])
    (provider,) = both["providers"]

    assert both["verdict"] == ill
    assert (both["generation"], both["in_flight"], both["cache_hit_ratio"]) == (1, 2, 0.75)
    assert [request["number"] for request in both["requests"]] == [3, 2]
    assert (provider["busy"], provider["slots"], provider["waiting"]) == (2, 4, 6)
    assert merged_status([one, two], {"box"})["providers"][0]["slots"] == 2
    assert provider["breakers"] == [{"task": "ask", "state": "open"}]
    assert (provider["ttft_p50_ms"], provider["queue_p95_ms"], provider["ttfts_ms"]) == (20.0, 8.0, [1.0, 1.0])
    assert (provider["win_rate"], provider["last_error"]) == (None, "gone")


def test_a_record_that_is_newer_than_a_workers_word_comes_the_next_time() -> None:
    """So that nobody who asks for what is newer than the latest misses one."""
    one = status(recent=[{"number": 90}, {"number": 99}], latest=99)
    two = status(recent=[{"number": 95}, {"number": 104}], latest=105)

    both = merged_status([one, two])

    assert ([record["number"] for record in both["recent"]], both["latest"]) == ([90, 95, 99], 99)


def test_a_minute_is_of_all_workers() -> None:
    """Its percentiles by how many requests each had."""
    quiet = {"at": 0, "answered": 0, "cached": 0, "failed": 0, "p50_ms": None, "p95_ms": None, "wins": {}}
    quiet |= {"prompt_tokens": 0, "completion_tokens": 0, "tokens_per_second": None}
    one = quiet | {"answered": 3, "p50_ms": 10.0, "p95_ms": 20.0, "wins": {"a": 3}, "tokens_per_second": 8.0}
    two = quiet | {"answered": 1, "failed": 2, "p50_ms": 50.0, "p95_ms": 60.0, "wins": {"a": 1, "b": 1}}

    (minute,) = merged_hours([{"minutes": [one]}, {"minutes": [two]}, {"minutes": [quiet]}])["minutes"]

    assert (minute["answered"], minute["failed"], minute["wins"]) == (4, 2, {"a": 4, "b": 1})
    assert (minute["p50_ms"], minute["p95_ms"], minute["tokens_per_second"]) == (20.0, 30.0, 8.0)

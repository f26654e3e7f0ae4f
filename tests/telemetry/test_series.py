from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Theirs
from prometheus_client.exposition import generate_latest

from llm_pool.telemetry.labels import SeriesBudget
from llm_pool.telemetry.series import DURATIONS, Counters, Histograms

if TYPE_CHECKING:
    from prometheus_client.registry import Collector


def page(collector: Collector) -> list[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(st.lists(st.floats(min_value=0, max_value=200) | st.sampled_from(DURATIONS)))
def test_a_histogram_reads_as_the_librarys_own(durations: list[float]) -> None:
    """Durations at a bucket's bound are in it."""
    ours = Histograms("x", "About.", ("task",), SeriesBudget(100))
    theirs = Theirs("llmpool_x", "About.", ["task"], registry=None, buckets=DURATIONS)
    for duration in durations:
        ours.of("ask").observe(duration)
        theirs.labels("ask").observe(duration)

    assert page(ours) == page(theirs)  # type: ignore[arg-type]  # the library asks for no more than collect()


def test_beyond_the_budget_all_count_together() -> None:
    """Every label of theirs is ``other``."""
    counters = Counters("x", "About.", ("provider", "task"), SeriesBudget(2))

    for provider in ("a", "b", "c", "b"):
        counters.of(provider, "ask").inc(2)

    said = page(counters)  # type: ignore[arg-type]  # likewise
    assert 'llmpool_x_total{provider="a",task="ask"} 2.0' in said
    assert 'llmpool_x_total{provider="other",task="other"} 6.0' in said

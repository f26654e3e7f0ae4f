"""
Time series that are counted on the way of a request: adding to one costs a look-up and an addition.

prometheus_client's own take a lock and make a tuple for each; here one thread counts, and the page reads a copy. It
still writes the page: ``collect`` gives what it writes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Generic, TypeVar

from llm_pool.telemetry.labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from llm_pool.telemetry.labels import SeriesBudget

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets, in seconds, themselves included."""
HISTOGRAM_SERIES = len(DURATIONS) + 4
"""Of one histogram: its buckets, the last of which is +Inf, its sum, its count, and in OpenMetrics when it began."""
COUNTER_SERIES = 2
T = TypeVar("T", "Counter", "Histogram")


class Counter:
    """How often something happened, or how much there was of it."""

    __slots__ = ("began", "value")

    def __init__(self) -> None:
        self.began, self.value = time.time(), 0.0

    def inc(self, by: float = 1.0) -> None:
        """Add *by*."""
        self.value += by


class Histogram:
    """How long something took, by the buckets of ``DURATIONS``."""

    __slots__ = ("began", "counts", "total")

    def __init__(self) -> None:
        self.began, self.total = time.time(), 0.0
        self.counts = [0] * (len(DURATIONS) + 1)

    def observe(self, seconds: float) -> None:
        """Note a duration."""
        self.counts[bisect_left(DURATIONS, seconds)] += 1
        self.total += seconds


class Family(ABC, Generic[T]):
    """
    Series of one name by their labels.

    Args:
        name: without the prefix.
        about: one sentence.
        labels: their names.
        budget: room for time series.
    """

    def __init__(self, name: str, about: str, labels: tuple[str, ...], budget: SeriesBudget) -> None:
        self._name, self._about, self._labels, self._budget = f"llmpool_{name}", about, labels, budget
        self._known: dict[tuple[str, ...], T] = {}

    def of(self, *labels: str) -> T:
        """The one of *labels*, in the family's order; the one of all others where there is no room for it."""
        known = self._known.get(labels)
        return self._new(labels) if known is None else known

    @abstractmethod
    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""

    @abstractmethod
    def _new(self, labels: tuple[str, ...]) -> T:
        """The one of *labels*, which were not seen yet."""

    def _kept(self, labels: tuple[str, ...], made: T, series: int) -> T:
        if not self._budget.take(series):
            labels = (OTHER,) * len(labels)
        return self._known.setdefault(labels, made)


class Counters(Family[Counter]):
    """Counters of one name."""

    def collect(self) -> Iterator[Metric]:
        """Each counter, and when it began."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily(self._name, self._about, labels=self._labels)
        for labels, counter in list(self._known.items()):
            family.add_metric(labels, counter.value, created=counter.began)
        yield family

    def _new(self, labels: tuple[str, ...]) -> Counter:
        return self._kept(labels, Counter(), COUNTER_SERIES)


class Histograms(Family[Histogram]):
    """Histograms of one name."""

    def collect(self) -> Iterator[Metric]:
        """The buckets, the sum and the count of each, and when it began."""
        from prometheus_client.core import HistogramMetricFamily

        bounds = [*map(str, DURATIONS), "+Inf"]
        family = HistogramMetricFamily(self._name, self._about, labels=self._labels)
        for labels, histogram in list(self._known.items()):
            buckets = list(zip(bounds, accumulate(histogram.counts), strict=True))
            family.add_metric(labels, buckets, histogram.total)
            family.add_sample(f"{self._name}_created", dict(zip(self._labels, labels, strict=True)), histogram.began)
        yield family

    def _new(self, labels: tuple[str, ...]) -> Histogram:
        return self._kept(labels, Histogram(), HISTOGRAM_SERIES)

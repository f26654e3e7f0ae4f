"""Percentiles and thresholds."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.cli.bench.figures import MEASURES, Sample, figures_json, parse_threshold, percentile, spread, sum_up

times = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)
shares = st.floats(0.001, 1.0)


@given(times, shares)
def test_a_percentile_is_the_lowest_value_that_so_many_do_not_exceed(values: list[float], share: float) -> None:
    """The definition of nearest rank, counted out."""
    found = percentile(values, share)

    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


@given(times)
def test_percentiles_ascend(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    assert found.p50 <= found.p95 <= found.p99 <= found.highest == max(values)


def test_known_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1.0)] == [50, 95, 99, 100]
    assert percentile([7.0], 0.5) == 7.0


def test_samples_are_summed_up() -> None:
    """Errors count in their share and by name; times are of the answers alone."""
    samples = [
        Sample(took=0.1, first_token=0.05, speed=10.0, agreement=1.0),
        Sample(took=0.3, first_token=0.25, speed=20.0, agreement=0.5, degraded=True),
        Sample(took=9.0, error="deadline_exceeded"),
        Sample(took=9.0, error="deadline_exceeded"),
    ]

    found = sum_up("phi3", samples, elapsed=4.0)

    assert (found.requests, found.errors, found.codes) == (4, 0.5, {"deadline_exceeded": 2})
    assert (found.rate, found.speed, found.agreement, found.degraded) == (0.5, 10.0, 0.75, 1)
    assert found.took is not None
    assert found.took.highest == 0.3
    assert figures_json(found)["ttft_ms"] == {"p50": 50.0, "p95": 250.0, "p99": 250.0, "max": 250.0}


def test_without_an_answer_nothing_is_measured() -> None:
    """And no threshold on it holds: silence is no success."""
    found = sum_up("phi3", [Sample(took=1.0, error="x")], elapsed=1.0)

    assert (found.took, found.first_token, found.speed, found.agreement) == (None, None, None, None)
    assert not parse_threshold("p95<900ms").holds(found)
    assert parse_threshold("p95<900ms").found(found) == "not measured"
    assert not parse_threshold("errors<1%").holds(found)


FIGURES = sum_up(
    "phi3", [Sample(took=0.9, queued=0.1, first_token=0.4, writing=0.4, speed=25.0, agreement=0.8)] * 4, elapsed=2.0
)


@pytest.mark.parametrize(
    ("text", "holds", "found"),
    [
        ("p95<1s", True, "900 ms"),
        ("p95<900ms", False, "900 ms"),
        ("p95<=900ms", True, "900 ms"),
        ("p50 > 0.5s", True, "900 ms"),
        ("ttft_p95<300ms", False, "400 ms"),
        ("errors<1%", True, "0.0%"),
        ("errors<0.01", True, "0.0%"),
        ("tps>20", True, "25.0"),
        ("tps>=25.5", False, "25.0"),
        ("rps>=2", True, "2.0"),
        ("agreement>=75%", True, "80.0%"),
    ],
)
def test_thresholds_in_their_units(text: str, found: str, *, holds: bool) -> None:
    threshold = parse_threshold(text)
    assert (threshold.holds(FIGURES), threshold.found(FIGURES)) == (holds, found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p95", "expected e.g. p95<900ms, with one of p50, p95, p99,"),
        ("p96<1s", "expected e.g. p95<900ms"),
        ("p95<900", "p95 takes 'ms' or 's', got 'p95<900'"),
        ("tps>20ms", "tps takes no unit, got 'tps>20ms'"),
        ("errors<1s", "errors takes '%', got 'errors<1s'"),
        ("p95<-1ms", "expected e.g. p95<900ms"),
    ],
)
def test_what_is_no_threshold_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace(".", r"\.")):
        parse_threshold(text)


@given(st.sampled_from(sorted(MEASURES)), st.sampled_from(["<", "<=", ">", ">="]), st.floats(0, 1e4))
def test_a_threshold_and_its_opposite_never_agree(measure: str, sign: str, bound: float) -> None:
    """Of ``x<b`` and ``x>=b`` exactly one holds where x was measured."""
    unit = "s" if measure.startswith(("p", "queue", "ttft", "writing", "max")) else ""
    opposite = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[sign]

    one = parse_threshold(f"{measure}{sign}{bound:.6f}{unit}")
    other = parse_threshold(f"{measure}{opposite}{bound:.6f}{unit}")

    assert one.holds(FIGURES) is not other.holds(FIGURES)


@given(st.text(max_size=30))
def test_any_text_is_a_threshold_or_a_value_error(text: str) -> None:
    """Nothing else is ever raised."""
    with suppress(ValueError):
        assert parse_threshold(text).measure in MEASURES

"""What a run measured, in figures: percentiles, shares, and thresholds on them. Pure rules."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_pool.core.messages import Json


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """
    One request. Times in seconds from when it was *meant* to be sent, so that a late sender hides nothing.

    Attributes:
        queued: until the answer that won was asked for: late, behind other attempts, or in the queue of its machine.
        first_token: from then to its first token; None where no text came.
        writing: from there to its end.
        tokens: that answer's, as its backend counted.
        speed: those tokens per second that the answer took.
        error: its stable code, empty for an answer.
    """

    took: float
    queued: float | None = None
    first_token: float | None = None
    writing: float | None = None
    tokens: int | None = None
    speed: float | None = None
    agreement: float | None = None
    degraded: bool = False
    error: str = ""


class Spread(msgspec.Struct, frozen=True):
    """Percentiles of one measure."""

    p50: float
    p95: float
    p99: float
    highest: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """
    One subject's samples, summed up.

    Attributes:
        took: seconds to the whole answer, answers only; None where there is none.
        rate: answers a second over the whole run.
        errors: share of the requests without an answer, in [0, 1].
        codes: how often each error came.
    """

    subject: str
    requests: int
    errors: float
    rate: float
    codes: dict[str, int]
    degraded: int = 0
    took: Spread | None = None
    queued: Spread | None = None
    first_token: Spread | None = None
    writing: Spread | None = None
    speed: float | None = None
    agreement: float | None = None


class Threshold(msgspec.Struct, frozen=True):
    """A demand on a figure, e.g. ``p95<900ms``; *bound* in the measure's own unit (seconds, share, number)."""

    text: str
    measure: str
    below: bool
    bound: float
    strict: bool

    def holds(self, figures: Figures) -> bool:
        """Whether *figures* meet it; what was not measured does not."""
        value = MEASURES[self.measure](figures)
        if value is None:
            return False
        if value == self.bound:
            return not self.strict
        return (value < self.bound) is self.below

    def found(self, figures: Figures) -> str:
        """The measured value in the threshold's unit."""
        value = MEASURES[self.measure](figures)
        if value is None:
            return "not measured"
        if self.measure in _TIMES:
            return f"{value * 1000:.0f} ms"
        return f"{value * 100:.1f}%" if self.measure in _SHARES else f"{value:.1f}"


def percentile(values: Sequence[float], share: float) -> float:
    """
    The nearest-rank percentile: the lowest of *values* that at least *share* of them do not exceed.

    Args:
        values: at least one, in any order.
        share: in (0, 1].
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def spread(values: Sequence[float]) -> Spread | None:
    """The percentiles of *values*; None where there are none."""
    if not values:
        return None
    return Spread(percentile(values, 0.50), percentile(values, 0.95), percentile(values, 0.99), max(values))


def sum_up(subject: str, samples: Sequence[Sample], elapsed: float) -> Figures:
    """The figures of *samples*, taken over *elapsed* seconds."""
    good = [sample for sample in samples if not sample.error]
    codes: dict[str, int] = {}
    for sample in samples:
        if sample.error:
            codes[sample.error] = codes.get(sample.error, 0) + 1
    return Figures(
        subject=subject,
        requests=len(samples),
        errors=1 - len(good) / len(samples) if samples else 0.0,
        rate=len(good) / elapsed if elapsed > 0 else 0.0,
        codes=codes,
        degraded=sum(sample.degraded for sample in good),
        took=spread([sample.took for sample in good]),
        queued=spread([sample.queued for sample in good if sample.queued is not None]),
        first_token=spread([sample.first_token for sample in good if sample.first_token is not None]),
        writing=spread([sample.writing for sample in good if sample.writing is not None]),
        speed=_middle([sample.speed for sample in good if sample.speed is not None]),
        agreement=_mean([sample.agreement for sample in good if sample.agreement is not None]),
    )


def parse_threshold(text: str) -> Threshold:
    """
    *text* such as ``p95<900ms``, ``ttft_p95<=0.4s``, ``errors<1%`` or ``tps>20``.

    Raises:
        ValueError: it is none; the message says what would be.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*(ms|s|%|)\s*", text)
    if match is None or match[1] not in MEASURES:
        raise ValueError(f"expected e.g. p95<900ms, with one of {', '.join(MEASURES)}, got '{text}'")
    measure, comparison, number, unit = match.groups()
    allowed = (
        {"ms": 0.001, "s": 1.0} if measure in _TIMES else {"%": 0.01, "": 1.0} if measure in _SHARES else {"": 1.0}
    )
    if unit not in allowed:
        units = " or ".join(repr(one) for one in allowed if one) or "no unit"
        raise ValueError(f"{measure} takes {units}, got '{text}'")
    return Threshold(
        text=text.strip(),
        measure=measure,
        below=comparison.startswith("<"),
        bound=float(number) * allowed[unit],
        strict=len(comparison) == 1,
    )


def figures_json(figures: Figures) -> dict[str, Json]:
    """*figures* as a JSON object, times in milliseconds."""
    return {
        "subject": figures.subject,
        "requests": figures.requests,
        "answers_per_second": round(figures.rate, 3),
        "error_share": round(figures.errors, 4),
        "errors": figures.codes,
        "degraded": figures.degraded,
        "latency_ms": _spread_json(figures.took),
        "queued_ms": _spread_json(figures.queued),
        "ttft_ms": _spread_json(figures.first_token),
        "writing_ms": _spread_json(figures.writing),
        "tokens_per_second": None if figures.speed is None else round(figures.speed, 2),
        "agreement": None if figures.agreement is None else round(figures.agreement, 4),
    }


def _spread_json(one: Spread | None) -> dict[str, float] | None:
    if one is None:
        return None
    names = {"p50": one.p50, "p95": one.p95, "p99": one.p99, "max": one.highest}
    return {name: round(value * 1000, 3) for name, value in names.items()}


def _of_spread(which: str, name: str) -> Callable[[Figures], float | None]:
    def measure(figures: Figures) -> float | None:
        one: Spread | None = getattr(figures, which)
        return None if one is None else float(getattr(one, name))

    return measure


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _middle(values: Sequence[float]) -> float | None:
    return percentile(values, 0.5) if values else None


_PERCENTILES = ("p50", "p95", "p99")
_PHASES = {"queue": "queued", "ttft": "first_token", "writing": "writing"}
_TIMES = (*_PERCENTILES, "max", *(f"{phase}_{name}" for phase in _PHASES for name in _PERCENTILES))
_SHARES = ("errors", "agreement")
MEASURES: dict[str, Callable[[Figures], float | None]] = {
    "p50": _of_spread("took", "p50"),
    "p95": _of_spread("took", "p95"),
    "p99": _of_spread("took", "p99"),
    "max": _of_spread("took", "highest"),
    **{f"{phase}_{name}": _of_spread(of, name) for phase, of in _PHASES.items() for name in _PERCENTILES},
    "errors": lambda figures: figures.errors,
    "tps": lambda figures: figures.speed,
    "rps": lambda figures: figures.rate,
    "agreement": lambda figures: figures.agreement,
}
"""What a threshold may be put on."""

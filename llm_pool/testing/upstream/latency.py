"""How long things take: a distribution, written as a short text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeAlias

Distribution: TypeAlias = Callable[[Random], float]
"""Draws seconds, >= 0."""

SPECS = """\
const:S            always S seconds
uniform:LOW,HIGH   anything between
exp:MEAN           exponential
lognormal:MU,SIGMA exp of a normal; the median is e^MU
heavy:S,SHARE,K    S, but K times S for SHARE of the draws (heavy:0.1,0.05,5)
file:PATH          one of the numbers in PATH, a number a line, each as likely"""


def parse(spec: str) -> Distribution:
    """
    The distribution that *spec* names.

    Raises:
        ValueError: not one of SPECS.
    """
    name, _, rest = spec.partition(":")
    if name == "file":
        seconds = [float(line) for line in Path(rest).read_text().split()]
        return lambda rng: rng.choice(seconds)
    shape, count = _SHAPES.get(name, (None, 0))
    try:
        numbers = [float(part) for part in rest.split(",")]
    except ValueError:
        numbers = []
    if shape is None or len(numbers) != count or any(n < 0 for n in numbers if name != "lognormal"):
        raise ValueError(f"latency: got {spec!r}, expected one of\n{SPECS}")
    return shape(*numbers)


def _const(seconds: float) -> Distribution:
    return lambda _: seconds


def _uniform(low: float, high: float) -> Distribution:
    return lambda rng: rng.uniform(low, high)


def _exponential(mean: float) -> Distribution:
    return lambda rng: rng.expovariate(1 / mean) if mean else 0.0


def _lognormal(mu: float, sigma: float) -> Distribution:
    return lambda rng: rng.lognormvariate(mu, sigma)


def _heavy(seconds: float, share: float, factor: float) -> Distribution:
    return lambda rng: seconds * factor if rng.random() < share else seconds


_SHAPES: dict[str, tuple[Callable[..., Distribution], int]] = {
    "const": (_const, 1),
    "uniform": (_uniform, 2),
    "exp": (_exponential, 1),
    "lognormal": (_lognormal, 2),
    "heavy": (_heavy, 3),
}

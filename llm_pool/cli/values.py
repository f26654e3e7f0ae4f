"""What words on the command line mean: numbers within bounds, one of some words, spans of time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from typer import BadParameter

if TYPE_CHECKING:
    from collections.abc import Callable


def integer(low: int, high: int) -> Callable[[str], int]:
    """Reads a whole number between *low* and *high*."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or not low <= number <= high:
            raise BadParameter(f"expected a whole number from {low} to {high}, got '{text}'")
        return number

    return read


def number(text: str) -> float:
    """*text* as a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadParameter(f"expected a number, got '{text}'")
    return value


def one_of(*words: str) -> Callable[[str], str]:
    """Reads one of *words*, and says which there are."""

    def read(text: str) -> str:
        if text not in words:
            raise BadParameter(f"expected {', '.join(words[:-1])} or {words[-1]}, got '{text}'")
        return text

    return read


def time_span(text: str | float) -> float:
    """A span of time such as ``500ms``, ``30s``, ``2m`` or a bare number of seconds, in seconds."""
    words = str(text).strip()
    for unit, seconds in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)):
        value = words.removesuffix(unit).strip()
        if words.endswith(unit) and value.replace(".", "", 1).isdecimal():
            return float(value) * seconds
    raise BadParameter(f"expected a time such as 500ms, 30s or 2m, got '{text}'")


def more_than_zero(read: Callable[[str], float]) -> Callable[[str], float]:
    """*read*, for values above 0 alone."""

    def positive(text: str) -> float:
        value = read(text)
        if value <= 0:
            raise BadParameter(f"expected more than 0, got '{text}'")
        return value

    return positive


def shard(text: str) -> tuple[int, int]:
    """*text*, ``2/8`` for the second of eight, as its two numbers."""
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count) <= 1_000_000):
        raise BadParameter(f"expected a part such as 2/8, got '{text}'")
    return int(index), int(count)

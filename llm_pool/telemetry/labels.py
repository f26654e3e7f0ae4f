"""Label values that clients choose, within bounds: every value is a time series, and memory, for ever."""

from __future__ import annotations

OTHER = "other"
"""Stands for every value beyond the bounds."""
NONE = "none"
"""Stands for the empty value, which Prometheus cannot tell from a label that is not there."""


class SeriesBudget:
    """
    How many time series there may be in all, whatever is multiplied with whatever.

    Args:
        limit: series.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit

    def take(self, series: int) -> bool:
        """Take room for *series* more; False, and nothing is taken, where there is none."""
        if series > self._left:
            return False
        self._left -= series
        return True


class BoundedLabels:
    """
    The first *limit* different values as they are; later ones are ``other``.

    Args:
        limit: values that get a name of their own.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._names = limit, dict[str, str]()

    def name(self, value: str) -> str:
        """The label for *value*, 64 characters at most."""
        known = self._names.get(value)
        if known is not None:
            return known
        if not value:
            return NONE
        if len(self._names) >= self._limit or len(value) > 64:
            return OTHER
        self._names[value] = value
        return value

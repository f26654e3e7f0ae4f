"""Dates and times in one spelling: ISO 8601. What is ambiguous, as ``03/04/2024``, is read by nobody."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH: Final = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS) + "|sept"
_WEEKDAY: Final = r"(?:(?P<weekday>mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+(?P<year>\d{4})(?![\d.,]\d))?"
_WRITTEN: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?P<year>\d{4})-(?P<number>\d{2})-(?P<day>\d{2})\b",
        rf"\b{_WEEKDAY}(?:the\s+)?{_DAY}(?:\s+of)?\s+(?P<month>{_MONTH})\b\.?{_YEAR}",
        rf"\b{_WEEKDAY}(?P<month>{_MONTH})\b\.?\s+(?:the\s+)?{_DAY}\b{_YEAR}",
        r"\b(?P<day>1[3-9]|2\d|3[01])[/.](?P<number>0?[1-9]|1[0-2])[/.](?P<year>\d{4})\b",
        r"\b(?P<number>0?[1-9]|1[0-2])/(?P<day>1[3-9]|2\d|3[01])/(?P<year>\d{4})\b",
    )
)
_TIME: Final = re.compile(
    r"(?<![\d.,:])(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?)?\s?(?P<half>[ap])\.?\s?m\b\.?"
    r"|(?<![\d.,:])(?P<hour_>\d{1,2}):(?P<minute_>[0-5]\d)(?::(?P<second_>[0-5]\d))?(?![\d:])",
    re.IGNORECASE,
)


class Day(NamedTuple):
    """A day of a year; *year* and *weekday* (three letters) may be empty."""

    month: int
    day: int
    year: str
    weekday: str

    @property
    def iso(self) -> str:
        """ISO 8601, without the year where there is none."""
        return f"{self.year or '-'}-{self.month:02}-{self.day:02}"


def day(text: str) -> Day | None:
    """The date that *text*, all of it, writes; None if it writes none."""
    for pattern in _WRITTEN:
        if match := pattern.fullmatch(text):
            return _day(match)
    return None


def time(text: str) -> str | None:
    """The time of day that *text*, all of it, writes, as ``15:00`` or ``15:00:30``; None if it writes none."""
    if word := {"noon": "12:00", "midnight": "00:00"}.get(text.lower()):
        return word
    match = _TIME.fullmatch(text)
    return _clock(match) if match else None


def unified(text: str) -> str:
    """*text* with each date and time in it as ISO 8601 spells it."""
    for pattern in _WRITTEN:
        text = pattern.sub(_as_iso, text)
    return _TIME.sub(lambda match: _clock(match) or match[0], text)


def _as_iso(match: re.Match[str]) -> str:
    found = _day(match)
    if found is None:
        return match[0]
    return f"{found.weekday} {found.iso}" if found.weekday else found.iso


def _day(match: re.Match[str]) -> Day | None:
    parts = match.groupdict()
    if parts.get("month"):
        month = next(i for i, name in enumerate(_MONTHS, start=1) if name.startswith(parts["month"][:3].lower()))
    else:
        month = int(parts["number"])
    number = int(parts["day"])
    if not (1 <= month <= 12 and 1 <= number <= 31):
        return None
    return Day(month, number, parts.get("year") or "", (parts.get("weekday") or "")[:3].lower())


def _clock(match: re.Match[str]) -> str | None:
    hour = int(match["hour"] or match["hour_"])
    minute, second = match["minute"] or match["minute_"] or "00", match["second"] or match["second_"]
    if half := match["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half.lower() == "p" else 0)
    return f"{hour:02}:{minute}" + (f":{second}" if second and second != "00" else "")

"""What came, when, and how it ended."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, TypeAlias

import msgspec

Ending: TypeAlias = Literal["running", "answered", "refused", "broken", "cancelled"]


class Entry(msgspec.Struct, kw_only=True, eq=False):
    """
    One request. Instants are on the event loop's clock, which processes of one machine share (CLOCK_MONOTONIC).

    Attributes:
        arrived, first_byte, ended: instants; None while not there yet. *first_byte* is the first piece of an answer.
        loading: seconds that this request waited for its model to be loaded.
        mode: how the request was treated.
        ending: ``answered`` well; ``refused`` with a status of 400 or more; ``broken`` on purpose, after it began;
            ``cancelled``: the client closed first; ``running`` still.
        closed_after: seconds from arrival until the client closed early; None if it did not.
        pieces: lines of text sent.
        headers, body: the request's, names in lower case; the body parsed, None if it was not JSON.
    """

    number: int
    method: str
    path: str
    arrived: float
    model: str = ""
    mode: str = "ok"
    status: int | None = None
    ending: Ending = "running"
    loading: float = 0.0
    first_byte: float | None = None
    ended: float | None = None
    closed_after: float | None = None
    pieces: int = 0
    headers: dict[str, str] = {}
    body: Any = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests for text since the start, by their ending; *swaps* are loads that put another model out."""

    requests: int
    answered: int
    refused: int
    broken: int
    cancelled: int
    in_flight: int
    most_in_flight: int
    loads: int = 0
    swaps: int = 0


class Journal:
    """Every request in order of arrival; the last hundred thousand are kept, all are counted."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=100_000)
        self._number = 0
        self._ended: dict[str, int] = {}
        self._in_flight = self._most = self._asked = 0

    def begin(self, method: str, path: str, headers: dict[str, str], body: Any, now: float) -> Entry:
        """A request has come."""
        self._number += 1
        entry = Entry(number=self._number, method=method, path=path, arrived=now, headers=headers, body=body)
        self.entries.append(entry)
        return entry

    def open(self, entry: Entry, model: str) -> None:
        """This request asks *model* for text: it counts."""
        entry.model = model
        self._asked += 1
        self._in_flight += 1
        self._most = max(self._most, self._in_flight)

    def close(self, entry: Entry) -> None:
        """A request for text is over."""
        self._in_flight -= 1
        self._ended[entry.ending] = self._ended.get(entry.ending, 0) + 1

    def inferences(self, model: str = "") -> list[Entry]:
        """The requests for text, of one model if named."""
        return [e for e in self.entries if e.model and model in ("", e.model)]

    def counts(self, *, loads: int, swaps: int) -> Counts:
        """How many of each."""
        endings = {kind: self._ended.get(kind, 0) for kind in ("answered", "refused", "broken", "cancelled")}
        return Counts(
            requests=self._asked,
            in_flight=self._in_flight,
            most_in_flight=self._most,
            loads=loads,
            swaps=swaps,
            **endings,
        )

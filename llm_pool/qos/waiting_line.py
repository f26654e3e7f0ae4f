"""
Those who wait for one machine, in the order to serve: kept in order, so that nobody is sorted anew for each turn.

Coming and leaving take O(log n) comparisons, and who is next is found in as many steps as there are tenants and models;
``fair_queueing.in_turn`` says what the order is.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection
from operator import attrgetter
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from llm_pool.qos.fair_queueing import Queued

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, KeysView, Mapping


class Waiting(Queued, Protocol):
    """What waits for a model."""

    @property
    def model(self) -> str:
        """Which one."""


W = TypeVar("W", bound=Waiting)
_urgency = attrgetter("urgency")


class WaitingLine(Collection[W], Generic[W]):
    """
    Those who wait.

    Args:
        waiting: each once, in any order.
    """

    def __init__(self, waiting: Iterable[W] = ()) -> None:
        self._by_tenant: dict[str, list[W]] = {}
        self._models: dict[str, int] = {}
        self._size = 0
        for each in waiting:
            self.add(each)

    @classmethod
    def of(cls, waiting: Collection[W]) -> WaitingLine[W]:
        """*waiting* itself where it is a line, else put into one."""
        return waiting if isinstance(waiting, WaitingLine) else cls(waiting)

    @property
    def models(self) -> KeysView[str]:
        """The models that are waited for."""
        return self._models.keys()

    def add(self, waiter: W) -> None:
        """Let *waiter*, who is not there, wait."""
        insort(self._by_tenant.setdefault(waiter.tenant, []), waiter, key=_urgency)
        self._models[waiter.model] = self._models.get(waiter.model, 0) + 1
        self._size += 1

    def discard(self, waiter: W) -> None:
        """Let *waiter* wait no more, if it does."""
        line = self._by_tenant.get(waiter.tenant, [])
        at = bisect_left(line, waiter.urgency, key=_urgency)
        if at == len(line) or line[at] != waiter:
            return
        del line[at]
        if not line:
            del self._by_tenant[waiter.tenant]
        self._models[waiter.model] -= 1
        if not self._models[waiter.model]:
            del self._models[waiter.model]
        self._size -= 1

    def first(self, counted: Container[str], taken: Container[str], ahead: Mapping[str, float]) -> W | None:
        """
        Who is next.

        Args:
            counted: models whose waiters have a turn.
            taken: those of them for which one is looked for.
            ahead: turns that a tenant is ahead of others, from ``Turns.ahead``.
        """
        best: tuple[float, tuple[float, float, int], W] | None = None
        for tenant, line in self._by_tenant.items():
            tag = ahead.get(tenant, 0.0)
            for each in line:
                if each.model in taken:
                    if best is None or (tag, each.urgency) < best[:2]:
                        best = tag, each.urgency, each
                    break
                tag += each.model in counted
        return None if best is None else best[2]

    def before(self, waiter: W, models: Container[str], ahead: Mapping[str, float]) -> list[W]:
        """Whose turn comes before that of *waiter*, of those that wait for *models*, the next one first."""
        urgency = waiter.urgency
        own = self._by_tenant.get(waiter.tenant, [])
        earlier = [each for each in own[: bisect_left(own, urgency, key=_urgency)] if each.model in models]
        turn = (ahead.get(waiter.tenant, 0.0) + len(earlier), urgency)
        if len(self._by_tenant) == (1 if own else 0):
            return earlier
        found: list[tuple[float, tuple[float, float, int], W]] = []
        for tenant, line in self._by_tenant.items():
            tag = ahead.get(tenant, 0.0)
            for each in line:
                if each.model not in models:
                    continue
                if (tag, each.urgency) >= turn:
                    break
                found.append((tag, each.urgency, each))
                tag += 1
        return [each for _, _, each in sorted(found, key=lambda tagged: tagged[:2])]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[W]:
        return (each for line in self._by_tenant.values() for each in line)

    def __contains__(self, waiter: object) -> bool:
        return any(each == waiter for each in self)

    def __repr__(self) -> str:
        return f"<WaitingLine [{self._size} waiting, {len(self._by_tenant)} tenants, {len(self._models)} models]>"

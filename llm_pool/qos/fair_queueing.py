"""
Turns between tenants: a pure rule.

A tenant who asks with sixty clients at once waits for its own sixty requests; others wait for one of them each time.
Each request gets a start tag, the least is next; ties go by urgency, so that with one tenant nothing but that counts::

    start(request)  = max(virtual time, finish tag of its tenant) + requests of its tenant that are more urgent
    once it is served:  virtual time = its start tag,  finish tag of its tenant = its start tag + 1

A turn is a call, whatever it takes. Who was away for a while gains nothing by it: its finish tag lies in the past.
When the queue is full, the newcomer of a tenant with few requests in it takes the place of the least urgent one of the
tenant with most.

Sources: Goyal, Vin & Cheng, Start-time Fair Queuing, SIGCOMM 1996, section 2 (with packets of length 1 and equal
weights); McKenney, Stochastic Fairness Queueing, INFOCOM 1990 (what is full drops from the longest queue).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


class Queued(Protocol):
    """What waits: whose it is, and what sorts the most urgent first."""

    @property
    def tenant(self) -> str:
        """Empty where nobody authenticates."""

    @property
    def urgency(self) -> tuple[float, float, int]:
        """Sorts the most urgent first."""


Q = TypeVar("Q", bound=Queued)


class Turns:
    """What the tenants have had, as long as somebody waits."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self._finish: dict[str, float] = {}

    @property
    def ahead(self) -> Mapping[str, float]:
        """How many turns each tenant is ahead of one that has had none; who is missing is ahead by none."""
        return {tenant: finish - self._virtual for tenant, finish in self._finish.items()}

    def serve(self, tenant: str, *, last: bool) -> None:
        """Note that *tenant* had a turn; *last*: nobody waits any more."""
        if last and not self._finish:  # a busy period of one turn
            self._virtual += 1.0
            return
        start = max(self._virtual, self._finish.get(tenant, 0.0))
        self._virtual = start
        self._finish[tenant] = start + 1.0
        if last:
            self._virtual = max(self._finish.values())  # the end of a busy period
        self._finish = {name: finish for name, finish in self._finish.items() if finish > self._virtual}

    def __repr__(self) -> str:
        return f"<Turns [{self._virtual:g}, {len(self._finish)} ahead]>"


def in_turn(waiting: Iterable[Q], ahead: Mapping[str, float]) -> list[Q]:
    """
    *waiting* in the order to serve.

    Args:
        waiting: each once.
        ahead: turns that a tenant is ahead of others, >= 0, from ``Turns.ahead``.
    """
    tags: list[tuple[float, tuple[float, float, int], Q]] = []
    turns: defaultdict[str, int] = defaultdict(int)
    for each in sorted(waiting, key=lambda each: each.urgency):
        tags.append((ahead.get(each.tenant, 0.0) + turns[each.tenant], each.urgency, each))
        turns[each.tenant] += 1
    return [each for _, _, each in sorted(tags, key=lambda tag: tag[:2])]


def displaced_by(newcomer: Queued, waiting: Collection[Q]) -> Q | None:
    """Who leaves a full queue for *newcomer*: the least urgent of the tenant with most; None if that is no fairer."""
    counts = Counter(each.tenant for each in waiting)
    if not counts:
        return None
    longest, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    if most <= counts[newcomer.tenant] + 1:
        return None
    return max((each for each in waiting if each.tenant == longest), key=lambda each: each.urgency)

"""
Rates, by the generic cell rate algorithm: one instant per sender says it all.

That instant, the *theoretical arrival time*, is when everything taken so far is paid back at the rate. Taking
``cost`` moves it by ``cost / rate``; it may lie at most ``burst / rate`` ahead of now. Source: ITU-T I.371, annex A;
Leach, "Rate limiting, cells and GCRA", 2015.

A debt may be booked after the fact (tokens are known when the answer is there): then the instant may lie further
ahead, and nothing more is taken until it is near again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.qos.redis import RedisUnavailable

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Clock
    from llm_pool.qos.redis import BudgetedRedis

_log = logging.getLogger("llm_pool.security")
MAX_WAIT = 0.1
"""Seconds that a request waits for Redis; after that this process counts by itself."""
_ROUNDING = 1e-6
"""Seconds: sums of floats shall not take away the last of a burst."""


class Rate(msgspec.Struct, frozen=True):
    """*per_second* on average and *burst* at once, both above 0."""

    per_second: float
    burst: float


class Verdict(msgspec.Struct, frozen=True):
    """
    Whether it was taken.

    Attributes:
        remaining: what could be taken at once now.
        retry_after: seconds until the same cost will be taken; 0 where it was, infinite where it never will be.
        reset: seconds until the whole burst is there again.
    """

    allowed: bool
    remaining: float
    retry_after: float
    reset: float


def take(before: float, rate: Rate, cost: float, now: float) -> tuple[float, Verdict]:
    """
    Take *cost* if it is there.

    Args:
        before: the theoretical arrival time so far, an instant; anything in the past for a new sender.
        rate: what the sender may have.
        cost: how much of it, >= 0; 0 asks whether anything at all is there.
        now: an instant.

    Returns:
        The theoretical arrival time from now on, and what became of it.
    """
    start, tolerance = max(before, now), rate.burst / rate.per_second
    after = start + cost / rate.per_second
    is_there = after - now <= tolerance + _ROUNDING if cost else start - now < tolerance
    wait = 0.0
    if not is_there:
        wait = after - now - tolerance if cost <= rate.burst else float("inf")
        after = start
    remaining = max(0.0, (tolerance - (after - now)) * rate.per_second)
    return after, Verdict(is_there, remaining, wait, after - now)


def charge(before: float, rate: Rate, cost: float, now: float) -> float:
    """Book *cost* that was already spent; the theoretical arrival time from now on."""
    return max(before, now) + cost / rate.per_second


class Limiter(Protocol):
    """Where the instants are kept."""

    async def take(self, sender: str, rate: Rate, cost: float = 1.0) -> Verdict:
        """Take *cost* of *sender*'s rate if it is there."""

    async def charge(self, sender: str, rate: Rate, cost: float) -> None:
        """Book *cost* that *sender* already spent."""


class MemoryLimiter:
    """
    In this process.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[str, float] = {}
        self._trim_at = 1024

    async def take(self, sender: str, rate: Rate, cost: float = 1.0) -> Verdict:
        """As the seam says."""
        now = self._clock.now()
        self._arrivals[sender], verdict = take(self._arrivals.get(sender, now), rate, cost, now)
        self._trim(now)
        return verdict

    async def charge(self, sender: str, rate: Rate, cost: float) -> None:
        """As the seam says."""
        now = self._clock.now()
        self._arrivals[sender] = charge(self._arrivals.get(sender, now), rate, cost, now)

    def _trim(self, now: float) -> None:
        """Forget senders who owe nothing, each time their number has doubled."""
        if len(self._arrivals) >= self._trim_at:
            self._arrivals = {sender: arrivals for sender, arrivals in self._arrivals.items() if arrivals > now}
            self._trim_at = max(1024, 2 * len(self._arrivals))


SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local per_second, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local cost, is_debt = tonumber(ARGV[3]), ARGV[4] == '1'
local kept = redis.pcall('GET', KEYS[1])
local start = type(kept) == 'string' and tonumber(kept) or now
if not (start > now and start < math.huge) then start = now end
local tolerance = burst / per_second
local after = start + cost / per_second
local is_there = is_debt or (cost > 0 and after - now <= tolerance + 1e-6) or (cost == 0 and start - now < tolerance)
local wait = 0
if not is_there then
  wait = cost <= burst and after - now - tolerance or -1
  after = start
end
if after > now then
  redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000) + 1000)
end
local remaining = math.max(0, (tolerance - (after - now)) * per_second)
return {is_there and 1 or 0, tostring(remaining), tostring(wait), tostring(after - now)}
"""
"""``take`` and ``charge`` as one step on the server, by the server's clock; what is no number there counts as none."""


class RedisLimiter:
    """
    In Redis, for all processes that share it; while it is away, each counts for itself.

    Args:
        redis: asked within ``MAX_WAIT`` seconds.
        clock: the time, for counting while Redis is away.
        prefix: of its keys; the braces keep each on one node of a cluster.
    """

    def __init__(self, redis: BudgetedRedis, clock: Clock, *, prefix: str = "llm-pool:rate:") -> None:
        self._redis, self._prefix = redis, prefix
        self._script = redis.client.register_script(SCRIPT)
        self._fallback, self._is_alone = MemoryLimiter(clock), False

    async def take(self, sender: str, rate: Rate, cost: float = 1.0) -> Verdict:
        """As the seam says."""
        return await self._run(sender, rate, cost, is_debt=False) or await self._fallback.take(sender, rate, cost)

    async def charge(self, sender: str, rate: Rate, cost: float) -> None:
        """As the seam says."""
        if await self._run(sender, rate, cost, is_debt=True) is None:
            await self._fallback.charge(sender, rate, cost)

    async def _run(self, sender: str, rate: Rate, cost: float, *, is_debt: bool) -> Verdict | None:
        """None where Redis is away."""
        key, arguments = f"{self._prefix}{{{sender}}}", [repr(rate.per_second), repr(rate.burst), repr(cost)]
        try:
            reply = await self._redis.ask(
                lambda: self._script(keys=[key], args=[*arguments, "1" if is_debt else "0"]), max_wait=MAX_WAIT
            )
        except RedisUnavailable:
            if not self._is_alone:
                _log.warning("rates are counted by this process alone: Redis does not answer")
            self._is_alone = True
            return None
        self._is_alone = False
        allowed, *numbers = reply
        remaining, wait, reset = (float(value) for value in numbers)
        return Verdict(bool(allowed), remaining, float("inf") if wait < 0 else wait, reset)

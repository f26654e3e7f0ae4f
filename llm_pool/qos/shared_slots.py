"""
Slots of a machine that several processes ask: a counting semaphore with leases, in Redis.

::

    wait ─▶ take: a slot is free and nobody waits longer ─▶ lease, renewed each second ─▶ release
       └──▶ look again, in the order of arrival, until the deadline

What holds, of a machine with S slots and N processes (N <= S):

- Together they never put more than S calls on it. A lease ends with the deadline of its call, or ``MAX_LEASE`` after it
  was last renewed: what a process that died held comes back by then.
- While Redis does not answer, a process uses one slot of each machine. So that this stays within S, one is kept free
  for each that has none while Redis does answer, until it was not heard of for ``FORGOTTEN`` seconds. So a process may
  have S - (N - 1) at most.
- A server that has just begun may have forgotten leases: for ``FENCE`` seconds it counts as one that does not answer,
  and within these the processes tell it what they hold.

Not held to: N > S while Redis does not answer (each uses one), and a process cut off from Redis for longer than
``MAX_LEASE`` whose calls take longer than that. Time is the server's.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from llm_pool.core.errors import QueueFull
from llm_pool.qos import queue_time
from llm_pool.qos.policy import Policy
from llm_pool.qos.redis import RedisUnavailable
from llm_pool.qos.timed import before_deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from llm_pool.core.interfaces import Clock, Provider
    from llm_pool.core.messages import Call, Delta
    from llm_pool.qos.redis import BudgetedRedis

PREFIX = "llm-pool:slots:"
MAX_LEASE = 30.0
"""Seconds that a lease lasts at most without being renewed."""
MARGIN = 1.0
"""Seconds that a lease outlasts its call's deadline, in which the call is closed upstream."""
HEARTBEAT = 1.0
FENCE = 5
FORGOTTEN = 60.0
KEPT = 2 * FORGOTTEN
"""Seconds that keys outlast their last use."""
POLL = 0.02
"""Seconds between two looks of one who waits."""
GONE = 1.0
"""Seconds after which one who waits and does not look any more is left out."""
MAX_WAIT = 0.25
"""Seconds that a request waits for Redis."""
TELL_WAIT = 1.0
"""The same for what this process says of itself: before the first request, and behind all others."""
ALONE = 1
"""Slots of each machine that a process uses while Redis does not answer."""

_COMMON = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held, waiting, looked, replicas = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
"""
_UPTIME = """
local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
"""
BEAT = (
    _COMMON
    + _UPTIME
    + """
redis.call('ZADD', replicas, now, ARGV[1])
redis.call('PEXPIRE', replicas, ARGV[2])
local anew = ARGV[3] == 'anew' or uptime < tonumber(ARGV[4])
for at = 5, #ARGV, 2 do
  if anew or redis.call('ZSCORE', held, ARGV[at]) then redis.call('ZADD', held, now + ARGV[at + 1], ARGV[at]) end
end
redis.call('PEXPIRE', held, ARGV[2])
return 1
"""
)
"""
This process lives, and goes on with its leases. One that the server does not know is taken up only where it may have
forgotten it: else it was given back a moment ago.
"""
TAKE = (
    _COMMON
    + _UPTIME
    + """
local name, token, slots, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local forgotten, gone, keep = ARGV[5], ARGV[6], ARGV[7]
redis.call('ZREMRANGEBYSCORE', held, '-inf', now)
if uptime < tonumber(ARGV[8]) then
  local own = tonumber(ARGV[10])
  for _, other in ipairs(redis.call('ZRANGE', held, 0, -1)) do
    if string.sub(other, 1, #name) == name then own = own + 1 end
  end
  if own >= tonumber(ARGV[9]) then return 'wait' end
  redis.call('ZADD', held, now + lease, token)
  redis.call('PEXPIRE', held, keep)
  return 'taken'
end
redis.call('ZREMRANGEBYSCORE', replicas, '-inf', now - forgotten)
for _, left in ipairs(redis.call('ZRANGEBYSCORE', looked, '-inf', now - gone)) do
  redis.call('ZREM', looked, left)
  redis.call('ZREM', waiting, left)
end
if redis.call('ZSCORE', held, token) then return 'taken' end

-- what each process has, and what is spoken for if each that has nothing is to have one
local has, taken, spoken_for = {}, 0, 0
local function count(process, more)
  local before = has[process]
  has[process] = (before or 0) + more
  taken = taken + more
  spoken_for = spoken_for + math.max(has[process], 1) - (before and math.max(before, 1) or 0)
end
for _, process in ipairs(redis.call('ZRANGE', replicas, 0, -1)) do count(process, 0) end
for _, other in ipairs(redis.call('ZRANGE', held, 0, -1)) do count(string.sub(other, 1, #name), 1) end

-- those who wait, in the order of their arrival
redis.call('ZADD', waiting, 'NX', now, token)
for _, other in ipairs(redis.call('ZRANGE', waiting, 0, -1)) do
  local process = string.sub(other, 1, #name)
  count(process, 0)
  local may = taken < slots and (has[process] == 0 or spoken_for < slots)
  if may then count(process, 1) end
  if other == token then
    if may then
      redis.call('ZADD', held, now + lease, token)
      redis.call('ZREM', waiting, token)
      redis.call('ZREM', looked, token)
      redis.call('PEXPIRE', held, keep)
      return 'taken'
    end
    break
  end
end
redis.call('ZADD', looked, now, token)
redis.call('PEXPIRE', waiting, keep)
redis.call('PEXPIRE', looked, keep)
return 'wait'
"""
)
"""One step on the server: who has waited longest takes the slot that is free."""
GIVE = (
    _COMMON
    + """
redis.call('ZREM', held, ARGV[1])
redis.call('ZREM', waiting, ARGV[1])
redis.call('ZREM', looked, ARGV[1])
return 1
"""
)


_Word: TypeAlias = "str | int"


class SharedLease(msgspec.Struct, eq=False):
    """
    A slot that this process uses, or waits for.

    Attributes:
        until: instant its call has ended by; ``math.inf`` if nobody knows.
        asking: what was last asked for it.
    """

    token: str
    until: float
    asking: asyncio.Future[Any] | None = None


class SharedSlots:
    """
    The slots of all machines that the processes on one Redis share.

    Args:
        redis: asked within ``MAX_WAIT`` seconds.
        clock: the time.
    """

    def __init__(self, redis: BudgetedRedis, clock: Clock) -> None:
        self._redis, self._clock = redis, clock
        self._name = uuid.uuid4().hex
        self._held: dict[str, set[SharedLease]] = {}
        self._introduced: dict[str, asyncio.Task[None]] = {}
        self._beat, self._take, self._give = (redis.client.register_script(text) for text in (BEAT, TAKE, GIVE))
        self._beating: asyncio.Task[None] | None = None
        self._giving: set[asyncio.Task[None]] = set()
        self._was_away = False  # it did not answer, and does not know what we hold since

    async def acquire(self, machine: str, slots: int, *, before: float, until: float) -> SharedLease | None:
        """
        Wait for one of the *slots* of *machine*.

        Args:
            machine: its name, the same in every process.
            slots: how many calls it takes at once.
            before: instant that is waited for at most.
            until: instant that the call in it has ended by; ``math.inf`` if nobody knows.

        Returns:
            The slot; give it back with ``release``. None: there was none in time.
        """
        if machine not in self._held:
            self._held[machine] = set()
            self._introduced[machine] = asyncio.create_task(self._tell())
        await asyncio.wait([self._introduced[machine]])  # for a process that is not known no slot is kept
        if self._beating is None:
            self._beating = asyncio.create_task(self._keep_telling())
        lease = SharedLease(f"{self._name}:{uuid.uuid4().hex}", until)
        try:
            while not await self._taken(machine, slots, lease):
                if self._clock.now() + POLL >= before:
                    return None
                await asyncio.sleep(POLL)
        finally:
            if lease not in self._held[machine]:
                self._send_back(machine, lease)
        return lease

    def release(self, machine: str, lease: SharedLease) -> None:
        """Give it back, behind the scenes."""
        self._held[machine].discard(lease)
        self._send_back(machine, lease)

    async def aclose(self) -> None:
        """Be known no more; leases that are out end by themselves. Idempotent."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
        await asyncio.gather(*self._giving, *self._introduced.values(), return_exceptions=True)
        machines, self._held = list(self._held), {}
        for machine in machines:
            with suppress(RedisUnavailable):
                replicas = _keys(machine)[-1]
                await self._redis.ask(partial(self._redis.client.zrem, replicas, self._name), max_wait=MAX_WAIT)

    async def _taken(self, machine: str, slots: int, lease: SharedLease) -> bool:
        """Whether the slot is ours now."""
        held = self._held[machine]
        words: list[_Word] = [self._name, lease.token, slots, _ms(self._rest(lease))]
        words += [_ms(FORGOTTEN), _ms(GONE), _ms(KEPT), FENCE, ALONE, len(held)]

        def asked() -> asyncio.Future[Any]:
            lease.asking = asyncio.ensure_future(self._take(keys=_keys(machine), args=words))
            return lease.asking

        try:
            is_taken = not self._was_away and await self._redis.ask(asked, max_wait=MAX_WAIT) == b"taken"
        except RedisUnavailable:
            is_taken, self._was_away = False, True
        if is_taken or (self._was_away and len(held) < ALONE):
            held.add(lease)
        return lease in held

    async def _keep_telling(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            await self._tell()

    async def _tell(self) -> None:
        """Say that this process lives and what it holds, even to a server that did not answer of late."""
        mode = "anew" if self._was_away else "on"
        try:
            for machine, leases in [*self._held.items()]:
                words: list[_Word] = [self._name, _ms(KEPT), mode, FENCE]
                words += [word for lease in leases for word in (lease.token, _ms(self._rest(lease)))]
                beat = partial(self._beat, keys=_keys(machine), args=words)
                await self._redis.ask(beat, max_wait=TELL_WAIT, force=True)
        except RedisUnavailable:
            self._was_away = True
        else:
            self._was_away = False

    def _rest(self, lease: SharedLease) -> float:
        return min(lease.until - self._clock.now() + MARGIN, MAX_LEASE)

    def _send_back(self, machine: str, lease: SharedLease) -> None:
        task = asyncio.create_task(self._sent_back(machine, lease))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _sent_back(self, machine: str, lease: SharedLease) -> None:
        if lease.asking is not None:
            await asyncio.wait([lease.asking])  # it may have been slow, and must not take what is given back
        with suppress(RedisUnavailable):
            give = partial(self._give, keys=_keys(machine), args=[lease.token])
            await self._redis.ask(give, max_wait=MAX_WAIT)

    def __repr__(self) -> str:
        return f"<SharedSlots [{', '.join(f'{len(held)} of {name}' for name, held in self._held.items())}]>"


class SharedSlotLimited(Policy):
    """
    Asks only while it holds a slot that the processes share; one that cannot be had in time is a QueueFull.

    Args:
        inner: what is asked.
        shared: the slots of all machines.
        machine: the provider's.
        slots: how many calls it takes at once, as far as is known now.
        clock: the time.
    """

    def __init__(
        self, inner: Provider, shared: SharedSlots, machine: str, slots: Callable[[], int], clock: Clock
    ) -> None:
        super().__init__(inner)
        self._shared, self._machine, self._slots, self._clock = shared, machine, slots, clock

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """Wait for a slot, then ask; raises QueueFull and what *inner* raises."""
        with queue_time.waiting():
            before, until = before_deadline(call, self._clock.now()), call.deadline if call.idle is None else math.inf
            lease = await self._shared.acquire(self._machine, self._slots(), before=before, until=until)
        if lease is None:
            why = f"no slot of {self._machine} was free in time; other processes use it too"
            raise QueueFull(self.name, why, retry_after=1.0)
        try:
            async with aclosing(self.inner.stream(call)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self._shared.release(self._machine, lease)


def _keys(machine: str) -> list[str]:
    # The braces keep a machine's keys on one node of a Redis cluster.
    return [f"{PREFIX}{{{machine}}}:{what}" for what in ("held", "waiting", "looked", "replicas")]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))

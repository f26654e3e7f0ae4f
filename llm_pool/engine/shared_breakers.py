"""
Breakers that open in one process, told to the others that share its Redis: a hint, not a refusal.

A breaker is each process's own proof that a backend is ill. To the others it says that they had better ask somebody
else first, for as long as it rests: the provider is a suspect there (``qos.suspicion``), and nothing is refused. A
breaker that closes takes its hint back. While Redis does not answer there are no hints.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from llm_pool.core.events import BreakerChanged
from llm_pool.qos.breaker import State
from llm_pool.qos.redis import RedisUnavailable

if TYPE_CHECKING:
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Clock
    from llm_pool.qos.redis import BudgetedRedis
    from llm_pool.qos.suspecting import Hints

KEY = "llm-pool:breakers"
INTERVAL = 1.0
"""Seconds between two exchanges."""
MAX_WAIT = 0.5
"""Seconds that an exchange waits for Redis, behind all requests."""
MAX_HINTS = 1000
SEPARATOR = "\x1f"

EXCHANGE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for at = 3, #ARGV, 2 do
  local field, rest = ARGV[1] .. ARGV[at], tonumber(ARGV[at + 1])
  if rest == 0 then
    redis.call('ZREM', KEYS[1], field)
  else
    redis.call('ZADD', KEYS[1], now + rest, field)
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZREMRANGEBYRANK', KEYS[1], ARGV[2], -1)
local hints = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for at = 2, #hints, 2 do hints[at] = hints[at] - now end
return hints
"""
"""Who says so, how many are kept, then what changed here: provider and task, and the rest in ms, 0 for none."""


class SharedBreakers:
    """
    Tells the others of this process's breakers, and hears of theirs.

    Args:
        clock: the time.
        hints: gets what the others say: until when, by provider and task.

    Attributes:
        redis: what they are shared by; None: with nobody.
    """

    def __init__(self, clock: Clock, hints: Hints) -> None:
        self._clock, self._hints = clock, hints
        self._name = uuid.uuid4().hex + SEPARATOR
        self._changed: dict[str, float] = {}
        self.redis: BudgetedRedis | None = None
        self._exchanging: asyncio.Task[None] | None = None

    def on(self, event: Event) -> None:
        """Note a breaker that opened or closed."""
        if isinstance(event, BreakerChanged) and self.redis is not None and event.after is not State.HALF_OPEN:
            self._changed[f"{event.provider}{SEPARATOR}{event.task}"] = self._clock.now() + event.rest
            while len(self._changed) > MAX_HINTS:
                del self._changed[next(iter(self._changed))]

    def connect(self, redis: BudgetedRedis | None) -> None:
        """Share by *redis* from now on; None: with nobody. The one that it shares by already changes nothing."""
        if redis is self.redis:
            return
        self.redis = redis
        if self._exchanging is not None:
            self._exchanging.cancel()
        self._exchanging = None if redis is None else asyncio.create_task(self._exchange_always(redis))
        self._hints.clear()

    async def aclose(self) -> None:
        """End. Idempotent."""
        exchanging = self._exchanging
        self.connect(None)
        if exchanging is not None:
            await asyncio.gather(exchanging, return_exceptions=True)

    async def _exchange_always(self, redis: BudgetedRedis) -> None:
        exchange = redis.client.register_script(EXCHANGE)
        while True:
            changed, self._changed = self._changed, {}
            now = self._clock.now()
            words: list[str | int] = [self._name, MAX_HINTS]
            for what, until in changed.items():
                words += [what, max(0, round((until - now) * 1000))]
            try:
                found = await redis.ask(partial(exchange, keys=[KEY], args=words), max_wait=MAX_WAIT)
            except RedisUnavailable:
                self._changed = changed | self._changed
                self._hints.clear()
            else:
                self._hear(found)
            await asyncio.sleep(INTERVAL)

    def _hear(self, found: list[bytes]) -> None:
        now = self._clock.now()
        self._hints.clear()
        for field, rest in zip(found[::2], found[1::2], strict=True):
            with suppress(ValueError):
                name, provider, task = field.decode().split(SEPARATOR)
                if name + SEPARATOR != self._name:
                    self._hints[provider, task] = now + int(rest) / 1000

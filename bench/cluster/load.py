"""Requests at a steady rate, whatever becomes of those before."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, NamedTuple

from bench.cluster.processes import asked

DEADLINE = 8.0
"""Seconds that each request has."""
STRATEGIES = ("FASTEST", "VOTING", "WEIGHTED", "CONSENSUS", "JUDGE")
TWICE_EVERY = 10
"""One id in so many is sent twice at once."""


class Outcome(NamedTuple):
    """
    What became of one request.

    Attributes:
        began, ended: instants.
        status: None where no whole reply came.
        said: the answer's text, or why there is none.
    """

    request_id: str
    strategy: str
    began: float
    ended: float
    status: int | None
    said: str

    @property
    def late(self) -> float:
        """Seconds after its deadline."""
        return max(0.0, self.ended - self.began - DEADLINE)

    @property
    def is_lost(self) -> bool:
        """It got no answer."""
        return self.status != 200


class Load:
    """
    Asks the balancer.

    Args:
        url: the balancer's.
        key: of the tenant.
        rate: requests a second; those sent twice count once.
    """

    def __init__(self, url: str, key: str, rate: float) -> None:
        self._url, self._key, self._rate = f"{url}/v1/infer", key, rate
        self.outcomes: list[Outcome] = []

    async def run(self, until: asyncio.Event) -> None:
        """Ask until *until* is set, then wait for the last replies."""
        began, number = time.monotonic(), 0
        asking: set[asyncio.Task[None]] = set()
        while not until.is_set():
            for _ in range(2 if number % TWICE_EVERY == 0 else 1):
                task = asyncio.create_task(self._ask(number))
                asking.add(task)
                task.add_done_callback(asking.discard)
            number += 1
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
        await asyncio.gather(*asking)

    async def _ask(self, number: int) -> None:
        body = question(number)
        began = time.monotonic()
        status, said = await self._reply(body)
        self.outcomes.append(Outcome(body["request_id"], body["strategy"], began, time.monotonic(), status, said))

    async def _reply(self, body: dict[str, Any]) -> tuple[int | None, str]:
        try:
            async with asyncio.timeout(2 * DEADLINE):
                status, said = await asked("POST", self._url, body, self._key)
        except TimeoutError:
            return None, "no reply"
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            return None, f"{type(error).__name__}: {error}"
        if status == 200:
            return 200, str(json.loads(said)["content"])
        return status, said.decode(errors="replace")[:300]


def question(number: int) -> dict[str, Any]:
    """The request of this number; its id stands in the prompt, where the upstreams see it."""
    request_id = f"id-{number}"
    return {
        "prompt": f"Which colour has a clear sky by day? [{request_id}]",
        "strategy": STRATEGIES[number % len(STRATEGIES)],
        "request_id": request_id,
        "deadline_ms": round(DEADLINE * 1000),
    }

"""R28: tenants have turns. One that asks without pause with sixty clients does not starve another."""

from __future__ import annotations

import asyncio

import pytest

from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import QueueFull
from llm_pool.qos.gate import Gate
from llm_pool.qos.loaded_models import LoadedModels
from llm_pool.qos.queueing import Limits

pytestmark = pytest.mark.anyio

SERVICE, DEADLINE = 0.2, 1.5


class Client:
    """Asks one machine, again and again."""

    def __init__(self, gate: Gate, tenant: str, *, pause: float) -> None:
        self.gate, self.tenant, self.pause = gate, tenant, pause
        self.answered = self.asked = 0

    async def run(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            self.asked += 1
            try:
                lease = await self.gate.acquire("p", "m", loop.time() + DEADLINE, lambda _: None, tenant=self.tenant)
            except QueueFull:
                await asyncio.sleep(0.01)  # a flood that does not heed Retry-After
                continue
            await asyncio.sleep(SERVICE)
            self.gate.release(lease, served=True)
            self.answered += 1
            await asyncio.sleep(self.pause)


@pytest.mark.parametrize("queue", [8, 64])
@pytest.mark.parametrize("slots", [1, 4])
async def test_sixty_clients_of_one_tenant_do_not_starve_another(queue: int, slots: int) -> None:
    """Every request of the quiet tenant is answered, and the machine still works all the time for the other."""
    clock = SystemClock()
    gate = Gate("box", Limits(slots=slots, queue=queue), clock, LoadedModels(clock, None))
    flood = [Client(gate, "loud", pause=0.0) for _ in range(60)]
    quiet = Client(gate, "quiet", pause=0.5)
    until = asyncio.get_running_loop().time() + 30

    await asyncio.gather(*(client.run(until) for client in [*flood, quiet]))

    assert quiet.answered == quiet.asked >= 30
    assert quiet.answered + sum(client.answered for client in flood) >= 0.95 * slots * 30 / SERVICE

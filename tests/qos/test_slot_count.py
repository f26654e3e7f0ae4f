"""How many calls a machine takes at once, where it says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from llm_pool.config import parse
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Unreachable
from llm_pool.core.messages import Query
from llm_pool.engine.composition import open_app
from llm_pool.qos.slot_count import SlotCount
from llm_pool.testing.upstream import Upstream

pytestmark = pytest.mark.anyio


async def told(*answers: Any, every: float = 60.0) -> tuple[list[int], int]:
    """What was learned of *answers*, one for each question, and how often was asked."""
    learned, left = list[int](), list(answers)

    async def count() -> int | None:
        answer = left.pop(0)
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        if isinstance(answer, Exception):
            raise answer
        return int(answer) if answer is not None else None

    slot_count = SlotCount(SystemClock(), count, learned.append)
    for _ in answers:
        await slot_count.refresh()
        await asyncio.sleep(every)
    return learned, len(answers) - len(left)


async def test_the_machine_is_asked_now_and_then() -> None:
    """A server that was started anew may take more."""
    assert await told(4, 2, 4) == ([4, 2, 4], 3)
    assert await told(4, 4, 4, every=25.0) == ([4], 1)


@pytest.mark.parametrize("answer", [None, 0, Unreachable("box", "refused"), 9.0])
async def test_who_does_not_say_is_left_at_what_is_configured(answer: Any) -> None:
    """Nor who is down, or takes longer than a request can wait."""
    assert await told(answer, 3) == ([3], 2)


@pytest.mark.real_loop
@pytest.mark.parametrize(("settings", "slots"), [("", 3), ("[groups.box]\nslots = 2", 2)])
async def test_a_llama_server_is_believed_where_the_file_says_nothing(settings: str, slots: int) -> None:
    """Over HTTP; its own word stands against our guess of eight, the file's against both."""
    async with Upstream(["phi3"], flavor="llama-server", slots=3) as up:
        provider = f'name = "box"\ndriver = "openai"\ngroup = "box"\nbase_url = "{up.url}"\nmodel = "phi3"'
        async with open_app(parse(f"{settings}\n[[providers]]\n{provider}", Path("llm-pool.toml"))) as app:
            await app.orchestrator.infer(Query(prompt="q", deadline=1.5, no_cache=True))

            assert [gate.slots for gate in app.machines.gates] == [slots]

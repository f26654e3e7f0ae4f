"""How many tokens a model's context holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import Unreachable
from llm_pool.core.interfaces import Member
from llm_pool.core.messages import ModelFacts, ProviderState
from llm_pool.engine.composition import open_app
from llm_pool.qos.model_context import ModelContexts
from llm_pool.testing import ScriptedProvider, a_panel
from llm_pool.testing.upstream import Upstream

pytestmark = pytest.mark.anyio


class Saying(ScriptedProvider):
    """A provider whose backend says something else each time it is asked."""

    def __init__(self, *said: Any) -> None:
        super().__init__("phi3", [])
        self.left = list(said)

    async def state(self) -> ProviderState:
        said = self.left.pop(0)
        if isinstance(said, float):
            await asyncio.sleep(said)
        if isinstance(said, Exception):
            raise said
        return msgspec.structs.replace(await super().state(), facts=said if isinstance(said, ModelFacts) else None)


def facts(context: int | None, **others: Any) -> ModelFacts:
    return ModelFacts(name="phi3", context=context, **others)


async def learned(*said: Any, every: float = 61.0, times: int | None = None) -> tuple[list[int | None], int]:
    """What is known at each of so many looks, and how often was asked."""
    provider, contexts = Saying(*said), ModelContexts(SystemClock())
    member, known = a_panel(provider)[0], []
    for _ in range(times or len(said)):
        known.append((await contexts.learned(member)).context)
        await asyncio.sleep(every)
    return known, len(said) - len(provider.left)


async def test_it_is_asked_now_and_then() -> None:
    """The model may be loaded anew with another context."""
    assert await learned(facts(8192), facts(2048)) == ([8192, 2048], 2)
    assert await learned(facts(8192), facts(2048), every=25.0) == ([8192, 8192], 1)


@pytest.mark.parametrize("said", [None, facts(None), facts(131_072, loaded=False), Unreachable("phi3", "refused"), 9.0])
async def test_what_is_not_told_changes_nothing(said: Any) -> None:
    """Nor what a model could have that is not loaded."""
    assert await learned(said, facts(8192, loaded=True), said) == ([None, 8192, 8192], 3)


async def test_what_is_configured_is_not_asked_for() -> None:
    """The file's word stands."""
    member = msgspec.structs.replace(a_panel(Saying())[0], context=1000)

    assert await ModelContexts(SystemClock()).learned(member) is member


@pytest.mark.real_loop
async def test_a_llama_server_says_what_each_slot_holds() -> None:
    """Over HTTP, through the policies."""
    async with Upstream(["phi3"], flavor="llama-server", context=2048) as up:
        provider = f'name = "box"\ndriver = "openai"\nbase_url = "{up.url}"\nmodel = "phi3"'
        async with open_app(parse(f"[[providers]]\n{provider}", Path("llm-pool.toml"))) as app:
            member = Member(provider=app.providers["box"], model="phi3", weight=1.0, group="box", rank=0)

            assert (await ModelContexts(SystemClock()).learned(member)).context == 2048

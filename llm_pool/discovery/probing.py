"""Ask the servers which models they have, all at the same time, and wait no longer than one was told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from llm_pool.config import Driver
from llm_pool.core.errors import ProviderError
from llm_pool.discovery.models import FoundModel, may_chat
from llm_pool.providers.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import ModelFacts
    from llm_pool.discovery.servers import ServerAddress
    from llm_pool.providers.ollama_server import OllamaServer

MOST_MODELS: Final = 64
"""Models of one server that are looked at."""
POOL: Final = "llm-pool"
"""What our own daemon calls the owner and the family of its models: a pool that asks itself never ends."""


def probe(servers: Sequence[ServerAddress], timeout: float) -> tuple[FoundModel, ...]:
    """
    The models of *servers* that answer questions, in the order of *servers*.

    Takes *timeout* seconds at most, and next to none where nobody listens. A server that is silent, broken or
    something else than a model server has none.
    """
    loop = asyncio.new_event_loop()  # and no Runner: that would wait for a name server which does not answer
    try:
        return loop.run_until_complete(_probe(servers, loop.time() + timeout))
    finally:
        loop.close()


async def _probe(servers: Sequence[ServerAddress], until: float) -> tuple[FoundModel, ...]:
    transport = Transport()
    try:
        found = await asyncio.gather(*(_models(server, transport, until) for server in servers))
    finally:
        await transport.aclose()
    return tuple(model for models in found for model in models)


async def _models(server: ServerAddress, transport: Transport, until: float) -> list[FoundModel]:
    ask = _ollama if server.driver is Driver.OLLAMA else _openai
    try:
        async with asyncio.timeout_at(until):
            return await ask(server, transport, until)
    except (TimeoutError, ProviderError):
        return []


async def _ollama(server: ServerAddress, transport: Transport, until: float) -> list[FoundModel]:
    from llm_pool.providers.capabilities import from_ollama
    from llm_pool.providers.ollama_server import OllamaServer

    asked = OllamaServer(name=server.label, base_url=server.url, transport=transport)
    listed = [one for one in (await asked.listed())[:MOST_MODELS] if _is_ollamas(one)]
    known = await asyncio.gather(*(_shown(asked, from_ollama(one), until) for one in listed))
    return [_found(facts, server, shares_memory=server.is_here) for facts in known if may_chat(facts)]


async def _shown(server: OllamaServer, facts: ModelFacts, until: float) -> ModelFacts:
    """*facts*, with what the server can tell beside them by *until*, where they lack what the model can do."""
    from llm_pool.providers.capabilities import with_shown

    if facts.capabilities is not None or facts.remote:
        return facts
    try:
        async with asyncio.timeout_at(until - 0.005):  # in time to be of use to those who wait until then
            return with_shown(facts, await server.shown(facts.name))
    except TimeoutError:
        return facts


async def _openai(server: ServerAddress, transport: Transport, _until: float) -> list[FoundModel]:
    from llm_pool.providers.openai_server import ON_DEMAND, OpenAIServer

    catalogue = await OpenAIServer(name=server.label, base_url=server.url, transport=transport).catalogue()
    if not catalogue.owners or POOL in catalogue.owners:
        return []
    on_demand = catalogue.kind in ON_DEMAND  # of the others, the model is in memory already
    return [
        _found(facts, server, shares_memory=on_demand)
        for facts in catalogue.models[:MOST_MODELS]
        if may_chat(facts) and facts.name not in catalogue.troubles
    ]


def _is_ollamas(entry: dict[str, Any]) -> bool:
    """Whether *entry* is one of ``/api/tags`` and not of some other program's list."""
    details = entry.get("details")
    return isinstance(details, dict) and isinstance(entry.get("digest"), str) and details.get("family") != POOL


def _found(facts: ModelFacts, server: ServerAddress, *, shares_memory: bool) -> FoundModel:
    return FoundModel(
        name=facts.name,
        server=server.label,
        driver=server.driver,
        url=server.url,
        family=facts.family,
        size=facts.size,
        shares_memory=shares_memory,
    )

"""The models of an OpenAI-shaped server, to look at: what it has is the server's own affair."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from llm_pool.core.errors import Rejected
from llm_pool.core.messages import ModelInfo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from llm_pool.core.messages import Json, ModelFacts, PullProgress
    from llm_pool.providers.openai_server import OpenAIServer


class OpenAIStore:
    """
    The models of *server*, as a ModelStore that only reads.

    Args:
        server: asked for its list.
    """

    def __init__(self, server: OpenAIServer) -> None:
        self._server = server

    async def models(self) -> Sequence[ModelInfo]:
        """As ``ModelStore.models``; raises ProviderError."""
        catalogue = await self._server.catalogue()
        return [self._info(facts, any_name=catalogue.kind == "llama-server") for facts in catalogue.models]

    async def show(self, model: str) -> ModelInfo:
        """As ``ModelStore.show``."""
        catalogue = await self._server.catalogue()
        facts = catalogue.find(model)
        if facts is None:
            raise Rejected(self._server.backend.name, f"it has no model '{model}'", hint="llm-pool models list")
        return self._info(facts, any_name=catalogue.kind == "llama-server")

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Raises Rejected."""
        self._refuse(f"pull {model}")
        yield  # what makes it a generator, as its callers want it

    async def remove(self, model: str) -> None:
        """Raises Rejected."""
        self._refuse(f"remove {model}")

    def _refuse(self, act: str) -> NoReturn:
        backend = self._server.backend
        raise Rejected(backend.name, f"cannot {act}: the server at {backend.authority} has no way to ask for it")

    def _info(self, facts: ModelFacts, *, any_name: bool) -> ModelInfo:
        said: dict[str, Json] = {
            "context": facts.context,
            "family": facts.family,
            "capabilities": sorted(facts.capabilities or ()),
        }
        return ModelInfo(
            name=facts.name,
            size=facts.size,
            place=self._server.backend.authority,
            loaded=bool(facts.loaded),
            any_name=any_name,
            detail={key: value for key, value in said.items() if value},
        )

"""
Embeddings: texts in, vectors out, by the steps and policies that answers go through.

::

    embedding_query ─▶ Orchestrator(admit_embedding) ─▶ FASTEST ─▶ policies ─▶ EmbeddingProvider ─▶ Embedder

Vectors of different models do not lie in one space, so only providers of one and the same model may stand in for each
other: a query names them all. Nothing is voted on, cached or repaired.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.models import EMBED
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Call, Delta, EmbeddingInput, Prompt, Query, Task, Usage
from llm_pool.engine.deadlines import LONGEST
from llm_pool.qos.policy import Policy

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from llm_pool.config import Config
    from llm_pool.core.interfaces import Embedder, Provider
    from llm_pool.core.messages import ProviderState

DEFAULT_TIMEOUT = 60.0
"""Seconds that texts may take where neither the request nor ``[tasks.embed]`` says: a large batch is slow on a CPU."""
BATCH = 32
"""Texts in one request to a backend: its answer is then read in milliseconds, and each one is a sign of life."""
MAX_TEXTS = 2048
"""Texts in one query. Source: OpenAI's limit."""

EMBEDDING = Task(name=EMBED, template="", description="Vectors of texts.")


def embedding_query(texts: EmbeddingInput, providers: Sequence[str], *, project_id: str = "") -> Query:
    """The query for the vectors of *texts*, by the *providers* of one model."""
    prompt = msgspec.json.encode(texts).decode()
    return Query(prompt=prompt, task=EMBED, providers=tuple(providers), project_id=project_id, no_cache=True)


async def load_embedding_task(_name: str) -> Task:
    """The one task there is."""
    return EMBEDDING


def admit_embedding(query: Query, task: Task, config: Config, *, now: float, stream: bool) -> Call:
    """
    The call for an ``embedding_query``; arguments as for ``admission.admit``.

    Raises:
        InvalidRequest: embeddings are switched off, there are no texts or too many, or the dimensions are no length.
    """
    if not config.task(EMBED).enabled:
        raise InvalidRequest("model", "embeddings are switched off", hint=f"tasks.{EMBED}.enabled says so")
    texts = msgspec.json.decode(query.prompt, type=EmbeddingInput)
    if not 1 <= len(texts.texts) <= MAX_TEXTS:
        raise InvalidRequest("input", f"{len(texts.texts)} texts, expected 1 to {MAX_TEXTS}")
    if texts.dimensions is not None and texts.dimensions < 1:
        raise InvalidRequest("dimensions", f"expected more than 0, got {texts.dimensions}")
    return Call(
        request_id=query.request_id or query.correlation_id or uuid.uuid4().hex,
        task=task,
        input=texts,
        prompt=Prompt("", ""),
        schema=None,
        ids=(),
        max_tokens=None,
        temperature=0.0,
        began=now,
        deadline=now + _timeout_of(query, config),
        stream=stream,
        tenant_id=query.tenant_id,
        trace=query.trace,
    )


def _timeout_of(query: Query, config: Config) -> float:
    """Seconds: what is asked for, up to what the configuration or the sender's own cap allows."""
    own = config.deadline_for(EMBED) or DEFAULT_TIMEOUT
    if query.deadline is not None and not query.deadline > 0:  # so that NaN is refused too
        raise InvalidRequest("deadline_ms", f"expected more than 0, got {query.deadline * 1000:g}")
    limits = (query.deadline or own, max(own, config.qos.max_deadline or LONGEST), query.caps.deadline or math.inf)
    return min(limits)


class EmbeddingProvider(Policy):
    """
    An embedder in the shape of a provider, so that every policy and FASTEST can be put around it.

    Args:
        provider: the same thing, for all that is not embedding.
        embedder: makes the vectors.
    """

    def __init__(self, provider: Provider, embedder: Embedder) -> None:
        super().__init__(provider)
        self._embedder = embedder

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """The vectors of the call's texts, BATCH by BATCH; raises ProviderError."""
        asked: EmbeddingInput = call.input
        counts: list[int | None] = []
        for at in range(0, len(asked.texts), BATCH):
            made = await self._embedder.embed(
                asked.texts[at : at + BATCH], dimensions=asked.dimensions, truncate=asked.truncate
            )
            counts.append(made.tokens)
            yield Delta(vectors=made.vectors)
        known = [count for count in counts if count is not None]
        yield Delta(final=True, usage=Usage(sum(known) if known else None))

    async def state(self) -> ProviderState:
        """What the backend says; that the model answers no questions is no fault here."""
        state = await super().state()
        if state.facts is None or state.facts.can_chat:
            return state
        condition = "warming" if state.facts.loaded is False else "healthy"
        return msgspec.structs.replace(state, condition=condition, detail="", hint="")

    async def load(self) -> None:
        """Make the model ready; raises ProviderError."""
        await self._embedder.embed((), dimensions=None, truncate=False)

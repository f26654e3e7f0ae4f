"""The seams: what each part may ask of the others, and nothing more."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from llm_pool.core.events import Event
    from llm_pool.core.messages import (
        Answer,
        Attempt,
        Call,
        Decision,
        Delta,
        Embeddings,
        ModelInfo,
        ProviderState,
        PullProgress,
    )


Emit: TypeAlias = "Callable[[Event], None]"
"""Takes the events of one request as they happen."""


class Provider(Protocol):
    """
    One model that answers. A policy around it has the same shape.

    There is one way to ask: ``stream``. A completion is a gathered stream (``attempts.AttemptGroup``), so a
    policy is written once and a backend is always asked to stream, which is the only call that every
    backend stops working on when it is closed.
    """

    @property
    def name(self) -> str:
        """The name in the configuration."""

    def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """
        Ask, and yield what comes as it comes.

        Close it with ``aclosing`` to cancel: the backend stops generating.

        Yields:
            Deltas; the last has ``final`` set and carries usage and the finish reason.
        Raises:
            ProviderError: and nothing else, apart from cancellation.
        """

    async def state(self) -> ProviderState:
        """What the backend says of itself now. Never raises; never takes longer than two seconds."""

    async def load(self) -> None:
        """
        Make the model ready to answer without a loading time. Idempotent.

        Raises:
            ProviderError: the model cannot be loaded.
        """

    async def aclose(self) -> None:
        """Release sockets and processes. Idempotent."""


class Embedder(Protocol):
    """A model that turns texts into vectors: a backend's provider may be one."""

    @property
    def name(self) -> str:
        """The name in the configuration."""

    async def embed(self, texts: Sequence[str], *, dimensions: int | None, truncate: bool) -> Embeddings:
        """
        The vectors of *texts*; of none, the model is made ready and there are none. Cancel it to stop the backend.

        Args:
            texts: in any number that one request may have.
            dimensions: length of the vectors; None is the model's own.
            truncate: cut a text that is too long, where the backend can.
        Raises:
            ProviderError: and nothing else, apart from cancellation.
        """


class Member(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """
    A provider as a member of a panel.

    Attributes:
        weight: the configuration's, > 0.
        group: providers of one group share a machine and slow each other down.
        rank: position in the configuration file; ties go to the lower.
        load_time: seconds until the model is in memory, as far as we know; 0 if it is.
        context: tokens of its context window, prompt and answer; None where the configuration does not say.
        suspect: it was silent the last few times; others are asked first.
    """

    provider: Provider
    model: str
    weight: float
    group: str
    rank: int
    load_time: float = 0.0
    context: int | None = None
    suspect: bool = False

    @cached_property
    def name(self) -> str:
        """The provider's name."""
        return self.provider.name

    @property
    def loaded(self) -> bool:
        """Whether the model answers without a loading time, as far as we know."""
        return self.load_time <= 0


class ModelStore(Protocol):
    """Where a provider's models live: an Ollama server, or the folder of GGUF files."""

    async def models(self) -> Sequence[ModelInfo]:
        """Models that are here now."""

    def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """Fetch *model*, resuming what an earlier pull left; raises ProviderError."""

    async def show(self, model: str) -> ModelInfo:
        """One model; raises ProviderError if it is not here."""

    async def remove(self, model: str) -> None:
        """Delete *model*; raises ProviderError if it is not here."""


class Strategy(Protocol):
    """How a panel of members becomes one decision."""

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """
        Ask as many of *panel* as needed and decide.

        Args:
            call: the question, with its deadline.
            panel: at least one member, in the order of preference.
            emit: told of attempts, hedges and partial text as they happen.
        Raises:
            AllProvidersFailed, NoConsensus: nothing usable came, or the panel disagreed and the rule is strict.
        """

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """
        Decide on what is there, asking nobody: *attempts* that *panel* made for this or another strategy.

        Raises:
            AllProvidersFailed, NoConsensus: as ``run``.
        """


class Cache(Protocol):
    """Answers that may be given again."""

    async def get(self, key: str) -> Answer | None:
        """The answer under *key*, with its ``age`` in seconds set; None on a miss. Never raises."""

    async def put(self, key: str, answer: Answer, ttl: float) -> None:
        """Keep *answer* for *ttl* seconds. Never raises."""

    async def aclose(self) -> None:
        """Release connections. Idempotent."""


class Clock(Protocol):
    """Time, read only."""

    def now(self) -> float:
        """Monotonic seconds, the event loop's own ``time()``."""

    def wall(self) -> float:
        """Unix seconds."""


class Observer(Protocol):
    """Someone who wants to know, and cannot interfere: an exception here is a bug of the observer."""

    def on(self, event: Event) -> None:
        """Called on the event loop; must return at once."""

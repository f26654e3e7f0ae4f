"""Which store keeps which model: a server or a folder once, whoever shares it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config import Driver
from llm_pool.core.errors import InvalidRequest, ProviderError, TimedOut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.core.interfaces import ModelStore
    from llm_pool.core.messages import ModelInfo
    from llm_pool.providers.transport import Transport

SOURCES = ("hf:", "http://", "https://")
"""What a model begins with that is fetched into the folder of the embedded engine."""

PATIENCE = 10.0
"""Seconds that a server may take to say what it has."""


class StoreTarget(msgspec.Struct, frozen=True, kw_only=True):
    """
    A store, and what the configuration wants of it.

    Attributes:
        place: its address, or where its files are.
        providers: who shares it.
        models: theirs, each once, in the configuration's order.
    """

    store: ModelStore
    driver: Driver
    place: str
    providers: tuple[str, ...]
    models: tuple[str, ...]

    @property
    def can_pull(self) -> bool:
        """Whether models can be fetched into it."""
        return self.driver is not Driver.OPENAI

    def missing(self, here: Sequence[ModelInfo]) -> list[str]:
        """The models it should have and has not, by what is *here*."""
        names = {self.same_name(info.name) for info in here}
        if any(info.any_name for info in here):
            return []
        return [model for model in self.models if self.same_name(model) not in names]

    async def listed(self) -> Sequence[ModelInfo]:
        """What is there; raises ProviderError, also where nothing is said for PATIENCE seconds."""
        async with self._patience():
            return await self.store.models()

    async def shown(self, model: str) -> ModelInfo:
        """What is known of *model*; raises as ``listed``."""
        async with self._patience():
            return await self.store.show(model)

    @asynccontextmanager
    async def _patience(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except TimeoutError:
            raise TimedOut(self.place, f"{self.place} says nothing for {PATIENCE:g} s") from None

    def same_name(self, model: str) -> str:
        """*model* as this store lists it."""
        from llm_pool.providers.gguf import source_of
        from llm_pool.providers.model_names import full_name

        if self.driver is Driver.OLLAMA:
            return full_name(model)
        source = source_of(model)
        return source.file.removesuffix(".gguf") if source is not None else model


@asynccontextmanager
async def open_stores(config: Config) -> AsyncIterator[list[StoreTarget]]:
    """
    The stores behind the providers of *config*, open while the block runs.

    The folder of the embedded engine is always among them: a model can be pulled before anything uses it.
    """
    from llm_pool.providers.transport import Transport

    transport = Transport()
    try:
        yield _targets(config, transport)
    finally:
        await transport.aclose()


def target_for(targets: Sequence[StoreTarget], model: str, provider: str | None) -> StoreTarget:
    """
    Where *model* is, or belongs.

    Args:
        targets: the first in doubt.
        model: its name, or a source.
        provider: whose store it shall be; None: of the one that is configured for it, else by what the name looks like.

    Raises:
        InvalidRequest: there is no such store.
    """
    if provider is not None:
        return _of_provider(targets, provider)
    if model.startswith(SOURCES) or model.endswith(".gguf"):
        return next(target for target in targets if target.driver is Driver.LLAMACPP)
    configured = [target for target in targets if target.same_name(model) in map(target.same_name, target.models)]
    return next(iter([*configured, *(target for target in targets if target.can_pull), *targets]))


async def locate(targets: Sequence[StoreTarget], model: str, provider: str | None) -> StoreTarget:
    """Where *model* is now; where nobody has it, ``target_for`` says where it belongs, and raises what it raises."""
    belongs = target_for(targets, model, provider)
    if provider is not None:
        return belongs
    for target in (belongs, *(target for target in targets if target is not belongs)):
        with suppress(ProviderError):
            if target.same_name(model) in [target.same_name(info.name) for info in await target.listed()]:
                return target
    return belongs


async def nearest_name(targets: Sequence[StoreTarget], model: str, provider: str | None) -> str:
    """A hint with the name closest to *model*, where it is not there under its own; else empty."""
    from llm_pool.config.problem import nearest

    names: list[str] = []
    for target in targets if provider is None else [_of_provider(targets, provider)]:
        with suppress(ProviderError):
            here = await target.listed()
            if target.same_name(model) in {target.same_name(info.name) for info in here}:
                return ""
            names += [info.name for info in here]
    return nearest(model, names)


def to_pull(
    targets: Sequence[StoreTarget], names: Sequence[str], provider: str | None
) -> Iterator[tuple[StoreTarget, str]]:
    """What to pull from where: *names*, or every model that *targets* are configured for."""
    if names:
        yield from [(target_for(targets, name, provider), name) for name in names]
        return
    for target in targets if provider is None else [_of_provider(targets, provider)]:
        for model in target.models:
            if target.driver is Driver.OLLAMA or model.startswith(SOURCES):
                yield target, model


def _of_provider(targets: Sequence[StoreTarget], provider: str) -> StoreTarget:
    from llm_pool.config.problem import nearest

    known = [name for target in targets for name in target.providers]
    for target in targets:
        if provider in target.providers:
            return target
    hint = nearest(provider, known) or f"those that keep models are {', '.join(known)}"
    raise InvalidRequest("--provider", f"'{provider}' keeps no models of ours", hint=hint)


def _targets(config: Config, transport: Transport) -> list[StoreTarget]:
    from llm_pool.providers.gguf import GgufStore, model_folder
    from llm_pool.providers.registry import store

    sharing: dict[tuple[Driver, str], list[ProviderSettings]] = {}
    for settings in config.active_providers:
        if settings.driver in {Driver.OLLAMA, Driver.OPENAI}:
            sharing.setdefault((settings.driver, str(settings.base_url).rstrip("/")), []).append(settings)
        elif settings.driver is Driver.LLAMACPP:
            sharing.setdefault((settings.driver, str(model_folder())), []).append(settings)
    targets = []
    for (driver, place), sharers in sharing.items():
        made = store(sharers[0], transport, path=config.path)
        assert made is not None
        targets.append(
            StoreTarget(
                store=made,
                driver=driver,
                place=place,
                providers=tuple(one.name for one in sharers),
                models=tuple(dict.fromkeys(one.model for one in sharers)),
            )
        )
    if not any(target.driver is Driver.LLAMACPP for target in targets):
        folder = GgufStore(name="the model folder")
        targets.append(
            StoreTarget(store=folder, driver=Driver.LLAMACPP, place=str(model_folder()), providers=(), models=())
        )
    return targets

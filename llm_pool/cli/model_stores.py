"""Which store keeps which model: a server or a folder once, whoever shares it."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config import Driver
from llm_pool.errors import InvalidRequest, ProviderError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.interfaces import ModelStore
    from llm_pool.providers.transport import Transport

SOURCES = ("hf:", "http://", "https://")
"""What a model begins with that is fetched into the folder of the embedded engine."""


class Shelf(msgspec.Struct, frozen=True, kw_only=True):
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

    def same_name(self, model: str) -> str:
        """*model* as this store lists it."""
        from llm_pool.providers.gguf import source_of
        from llm_pool.providers.ollama import full_name

        if self.driver is Driver.OLLAMA:
            return full_name(model)
        source = source_of(model)
        return source.file.removesuffix(".gguf") if source is not None else model


@asynccontextmanager
async def open_shelves(config: Config) -> AsyncIterator[list[Shelf]]:
    """
    The stores behind the providers of *config*, open while the block runs.

    The folder of the embedded engine is always among them: a model can be pulled before anything uses it.
    """
    from llm_pool.providers.transport import Transport

    transport = Transport()
    try:
        yield _shelves(config, transport)
    finally:
        await transport.aclose()


def shelf_for(shelves: Sequence[Shelf], model: str, provider: str | None) -> Shelf:
    """
    Where *model* is, or belongs.

    Args:
        shelves: the first in doubt.
        model: its name, or a source.
        provider: whose store it shall be; None: of the one that is configured for it, else by what the name looks like.

    Raises:
        InvalidRequest: there is no such store.
    """
    if provider is not None:
        return _of_provider(shelves, provider)
    if model.startswith(SOURCES) or model.endswith(".gguf"):
        return next(shelf for shelf in shelves if shelf.driver is Driver.LLAMACPP)
    configured = [shelf for shelf in shelves if shelf.same_name(model) in map(shelf.same_name, shelf.models)]
    return next(iter([*configured, *shelves]))


async def holder(shelves: Sequence[Shelf], model: str, provider: str | None) -> Shelf:
    """Where *model* is now; where nobody has it, ``shelf_for`` says where it belongs, and raises what it raises."""
    belongs = shelf_for(shelves, model, provider)
    if provider is not None:
        return belongs
    for shelf in (belongs, *(shelf for shelf in shelves if shelf is not belongs)):
        with suppress(ProviderError):
            if shelf.same_name(model) in [shelf.same_name(info.name) for info in await shelf.store.models()]:
                return shelf
    return belongs


def wanted(shelves: Sequence[Shelf], names: Sequence[str], provider: str | None) -> Iterator[tuple[Shelf, str]]:
    """What to pull from where: *names*, or every model that *shelves* are configured for."""
    if names:
        yield from [(shelf_for(shelves, name, provider), name) for name in names]
        return
    for shelf in shelves if provider is None else [_of_provider(shelves, provider)]:
        for model in shelf.models:
            if shelf.driver is Driver.OLLAMA or model.startswith(SOURCES):
                yield shelf, model


def _of_provider(shelves: Sequence[Shelf], provider: str) -> Shelf:
    from llm_pool.config.problem import nearest

    known = [name for shelf in shelves for name in shelf.providers]
    for shelf in shelves:
        if provider in shelf.providers:
            return shelf
    hint = nearest(provider, known) or f"those that keep models are {', '.join(known)}"
    raise InvalidRequest("--provider", f"'{provider}' keeps no models of ours", hint=hint)


def _shelves(config: Config, transport: Transport) -> list[Shelf]:
    from llm_pool.backends import store
    from llm_pool.providers.gguf import GgufStore, model_folder

    sharing: dict[tuple[Driver, str], list[ProviderSettings]] = {}
    for settings in config.active_providers:
        if settings.driver is Driver.OLLAMA:
            sharing.setdefault((settings.driver, str(settings.base_url).rstrip("/")), []).append(settings)
        elif settings.driver is Driver.LLAMACPP:
            sharing.setdefault((settings.driver, str(model_folder())), []).append(settings)
    shelves = []
    for (driver, place), sharers in sharing.items():
        made = store(sharers[0], transport)
        assert made is not None
        shelves.append(
            Shelf(
                store=made,
                driver=driver,
                place=place,
                providers=tuple(one.name for one in sharers),
                models=tuple(dict.fromkeys(one.model for one in sharers)),
            )
        )
    if not any(shelf.driver is Driver.LLAMACPP for shelf in shelves):
        folder = GgufStore(name="the model folder")
        shelves.append(Shelf(store=folder, driver=Driver.LLAMACPP, place=str(model_folder()), providers=(), models=()))
    return shelves

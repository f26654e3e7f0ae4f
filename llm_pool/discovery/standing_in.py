"""
From what was found to a configuration: found models serve in the place of those that are not installed. Pure rules.

A provider is *missing* if its server is one that was looked at and does not have its model. A server elsewhere is
nobody's business here, and its providers stay.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool.config import Driver, ProviderSettings
from llm_pool.discovery.panel import MOST, choose, weights
from llm_pool.discovery.servers import LOOPBACK, OLLAMA_PORT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from llm_pool.config import Config, JudgeSettings
    from llm_pool.discovery.models import FoundModel
    from llm_pool.discovery.servers import ServerAddress

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._:-]+")
_NAME_LENGTH: Final = 60
_OWN_OLLAMA: Final = f"http://{LOOPBACK}:{OLLAMA_PORT}"


def addressed(config: Config, servers: Sequence[ServerAddress]) -> Config:
    """*config*, in which Ollama's default address means the Ollama among *servers*, as to Ollama's own tools."""
    ollama = next((server.url for server in servers if server.driver is Driver.OLLAMA), _OWN_OLLAMA)
    if ollama == _OWN_OLLAMA:
        return config
    providers = tuple(
        msgspec.structs.replace(provider, base_url=ollama)
        if provider.driver is Driver.OLLAMA and _root(provider.base_url) == _OWN_OLLAMA
        else provider
        for provider in config.providers
    )
    return msgspec.structs.replace(config, providers=providers)


def missing(config: Config, found: Sequence[FoundModel], asked: Collection[str]) -> tuple[ProviderSettings, ...]:
    """The providers of *config*, a last resort apart, whose model is not among *found* at the addresses *asked*."""
    here = {_key(model.driver, model.url, model.name) for model in found}
    return tuple(
        provider
        for provider in _regular(config)
        if _root(provider.base_url) in asked and _key(provider.driver, provider.base_url, provider.model) not in here
    )


def stand_ins(
    config: Config, found: Sequence[FoundModel], asked: Collection[str], memory: int | None
) -> list[FoundModel]:
    """Those of *found* that serve instead of the missing ones, as ``panel.choose`` takes them; empty: nobody."""
    gone, regular = missing(config, found, asked), _regular(config)
    if regular and not gone:
        return []
    kept = {_key(one.driver, one.base_url, one.model) for one in regular if one not in gone}
    others = [model for model in found if _key(model.driver, model.url, model.name) not in kept]
    return list(choose(others, memory=memory, most=max(1, MOST - len(regular) + len(gone))))


def replaced(config: Config, gone: Collection[ProviderSettings], models: Sequence[FoundModel]) -> Config:
    """
    *config* with *models*, the smallest first, in the place of the providers *gone*.

    As many as are gone take their tasks one by one, else each takes the tasks of all.
    """
    kept = [provider for provider in _regular(config) if provider not in gone]
    others = [provider for provider in config.providers if provider not in gone and provider not in kept]
    new = _providers(models, _duties([one for one in config.providers if one in gone], len(models)))
    new = _with_own_names(new, {provider.name for provider in (*kept, *others)})
    names = {provider.name for provider in gone}
    return msgspec.structs.replace(
        config,
        providers=(*kept, *new, *others),
        judge=_judged(config.judge, names),
        tasks={
            task: msgspec.structs.replace(settings, providers=_left(settings.providers, names))
            for task, settings in config.tasks.items()
        },
    )


def _regular(config: Config) -> list[ProviderSettings]:
    return [provider for provider in config.answering_providers if not provider.last_resort]


def _duties(gone: Sequence[ProviderSettings], count: int) -> list[tuple[str, ...]]:
    """The tasks of *count* stand-ins; none stands for all."""
    if len(gone) == count:
        return [provider.tasks for provider in gone]
    everything = (
        () if not all(one.tasks for one in gone) else tuple(dict.fromkeys(t for one in gone for t in one.tasks))
    )
    return [everything] * count


def _providers(models: Sequence[FoundModel], duties: Sequence[tuple[str, ...]]) -> list[ProviderSettings]:
    return [
        ProviderSettings(
            name=_NOT_IN_NAMES.sub("-", model.name.rpartition("/")[2]).lstrip("._:-")[:_NAME_LENGTH] or "found",
            driver=model.driver,
            base_url=model.url,
            model=model.name,
            tasks=tasks,
            weight=weight,
        )
        for model, tasks, weight in zip(models, duties, weights(models), strict=True)
    ]


def _with_own_names(providers: Sequence[ProviderSettings], taken: Collection[str]) -> list[ProviderSettings]:
    used, named = set(taken), []
    for provider in providers:
        names = (provider.name, *(f"{provider.name}-{number}" for number in range(2, len(used) + 3)))
        name = next(name for name in names if name not in used)
        used.add(name)
        named.append(msgspec.structs.replace(provider, name=name))
    return named


def _judged(judge: JudgeSettings, gone: Collection[str]) -> JudgeSettings:
    """*judge* without the providers *gone*; where none is left, the heaviest one judges."""
    left = _left(judge.providers, gone)
    if left == judge.providers:
        return judge
    return msgspec.structs.replace(judge, model_provider=left if len(left) > 1 else next(iter(left), None))


def _left(names: Sequence[str], gone: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in gone)


def _key(driver: Driver, url: str | None, model: str) -> tuple[Driver, str, str]:
    if driver is Driver.OLLAMA:
        from llm_pool.providers.model_names import full_name

        model = full_name(model)
    return driver, _root(url), model


def _root(url: str | None) -> str:
    return (url or "").rstrip("/").removesuffix("/v1").replace("://localhost", f"://{LOOPBACK}")

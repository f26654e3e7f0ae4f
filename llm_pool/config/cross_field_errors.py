"""Cross-field validation: keys that are valid each by itself, but not together."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from llm_pool.config.addresses import address_fault
from llm_pool.config.models import ANY_TENANT, EMBED, ProviderSettings, Sections, TaskSettings
from llm_pool.config.problem import Problem, nearest
from llm_pool.config.toml import toml_value
from llm_pool.config.type_inspection import fields_of, inspect_type
from llm_pool.config.values import POOL, CacheDriver, Driver, KeyField
from llm_pool.core.messages import StrategyName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.config.models import ServerSettings
    from llm_pool.config.values import Secret

EMBED_DRIVERS = (Driver.OLLAMA, Driver.OPENAI)
"""Drivers that make embeddings."""
ASK = "ask"
"""The task of a plain question; every pool has it."""
RESERVED_FIELDS = {"messages", "model", "stream"}
"""Fields of a request's body that say what is asked of whom and how the answer comes."""
RESERVED_HEADERS = {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding"}
"""Headers that say how a request is written."""


def cross_field_errors(sections: Sections, raw: dict[str, Any]) -> Iterator[Problem]:
    """Where *sections*, read from the parsed file *raw*, contradict themselves."""
    yield from _server(raw.get("server", {}))
    yield from _providers(sections)
    for index, provider in enumerate(sections.providers):
        yield from _provider(provider, index)
    yield from _strategies(sections)
    yield from _judge(sections)
    yield from _tasks(sections)
    yield from _cache(sections)
    yield from _groups(sections)
    yield from _tls(sections.server)
    yield from _security(sections)
    yield from _tenancy(sections)
    yield from _models(sections)


def _server(server: dict[str, Any]) -> Iterator[Problem]:
    if server.get("listen_addr", server.get("http_addr")) != server.get("http_addr", server.get("listen_addr")):
        want = "the same as http_addr, or only one of the two"
        yield Problem(("server", "listen_addr"), toml_value(server["listen_addr"]), want)


def _providers(sections: Sections) -> Iterator[Problem]:
    if not any(provider.enabled for provider in sections.providers):
        got = "only ones that are off" if sections.providers else "none"
        yield Problem(("providers",), got, "at least one [[providers]] table that is on", "llm-pool config init")
    seen: Counter[str] = Counter()
    for index, provider in enumerate(sections.providers):
        seen[provider.name] += 1
        if seen[provider.name] == 2:
            yield Problem(("providers", index, "name"), f"{toml_value(provider.name)} again", "a name of its own")


def _provider(provider: ProviderSettings, index: int) -> Iterator[Problem]:
    for name, drivers in _drivers_by_key().items():
        if provider.driver not in drivers and getattr(provider, name) not in (None, {}):
            want = f"driver {' or '.join(drivers)} with this key"
            yield Problem(("providers", index, name), f"driver {provider.driver}", want)
    if provider.base_url is None and provider.driver in _drivers_by_key()["base_url"]:
        yield Problem(("providers", index, "base_url"), "nothing", f"the address of the {provider.driver} server")
    elif provider.base_url is not None and (fault := address_fault(provider.driver, provider.base_url)):
        got, want = fault
        yield Problem(("providers", index, "base_url"), got, toml_value(want))
    if EMBED in provider.tasks and provider.driver not in EMBED_DRIVERS:
        want = f"driver {' or '.join(EMBED_DRIVERS)} with this task"
        yield Problem(("providers", index, "tasks"), f"{EMBED} with driver {provider.driver}", want)
    if provider.client_key is not None and provider.client_cert is None:
        yield Problem(("providers", index, "client_key"), "no client_cert", "client_cert with it")
    for name in RESERVED_FIELDS & provider.extra_body.keys():
        yield Problem(("providers", index, "extra_body", name), f"{name}, which is ours to set", "other fields")
    for name in provider.headers:
        if name.lower() in RESERVED_HEADERS:
            yield Problem(("providers", index, "headers", name), f"{name}, which is ours to set", "other headers")


@cache
def _drivers_by_key() -> dict[str, tuple[str, ...]]:
    """The keys that only some drivers read, and these drivers."""
    extras = {name: inspect_type(field.type).extra for name, field in fields_of(ProviderSettings).items()}
    return {name: extra["drivers"] for name, extra in extras.items() if "drivers" in extra}


def _strategies(sections: Sections) -> Iterator[Problem]:
    ensemble = sections.ensemble
    if ensemble.default_strategy in ensemble.disabled:
        want = "a strategy that is not in ensemble.disabled"
        yield Problem(("ensemble", "default_strategy"), ensemble.default_strategy, want)
    for index, name in enumerate(ensemble.consensus.fallback):
        if name is StrategyName.CONSENSUS:
            yield Problem(("ensemble", "consensus", "fallback", index), name, "a strategy other than CONSENSUS")
    for task, strategy in ensemble.strategy_by_task.items():
        own = sections.tasks[task].strategy if task in sections.tasks else None
        if own not in {None, strategy}:
            want = f"{strategy}, as in ensemble.strategy_by_task, or only one of the two"
            yield Problem(("tasks", task, "strategy"), str(own), want)


def _judge(sections: Sections) -> Iterator[Problem]:
    judge = sections.judge
    names = [provider.name for provider in sections.providers if provider.enabled]
    for name in judge.providers:
        if name not in names:
            yield _unknown_provider(("judge", "model_provider"), name, names)
    if judge.fallback_strategy in {StrategyName.JUDGE, StrategyName.CONSENSUS}:
        want = "FASTEST, VOTING or WEIGHTED, which decide by themselves"
        yield Problem(("judge", "fallback_strategy"), judge.fallback_strategy, want)


def _tasks(sections: Sections) -> Iterator[Problem]:
    own = sections.ensemble.strategy_by_task.get(EMBED) or sections.tasks.get(EMBED, TaskSettings()).strategy
    if own not in {None, StrategyName.FASTEST}:
        yield Problem(("tasks", EMBED, "strategy"), str(own), "FASTEST: vectors cannot be voted on")
    active = [provider for provider in sections.providers if provider.enabled]
    names = [provider.name for provider in active]
    for task, settings in sections.tasks.items():
        for index, name in enumerate(settings.providers):
            if name not in names:
                yield _unknown_provider(("tasks", task, "providers", index), name, names)
    if not active or not all(provider.tasks for provider in active):
        return  # one without `tasks` serves every task
    served = {ASK} | {task for provider in active for task in provider.tasks}
    served |= {task for task, settings in sections.tasks.items() if settings.providers}
    for table, tasks in (
        (("ensemble", "strategy_by_task"), sections.ensemble.strategy_by_task),
        (("tasks",), sections.tasks),
    ):
        for task in tasks:
            if task not in served:
                hint = nearest(task, served) or "add it to the tasks of a provider"
                yield Problem(
                    (*table, task), f"task {toml_value(task)}, which no provider serves", "a served task", hint
                )


def _unknown_provider(path: tuple[str | int, ...], name: str, known: list[str]) -> Problem:
    return Problem(path, toml_value(name), "the name of a provider that is on", nearest(name, known))


def _cache(sections: Sections) -> Iterator[Problem]:
    cache = sections.cache
    if not {KeyField.TASK, KeyField.PROMPT} <= set(cache.key_fields):
        got = toml_value(cache.key_fields)
        yield Problem(
            ("cache", "key_fields"), got, '"task" and "prompt" among them', "without them all answers are one"
        )
    if cache.enabled and cache.driver is CacheDriver.REDIS and cache.url is None:
        yield Problem(("cache", "url"), "nothing", "the Redis server's address", 'url = "redis://127.0.0.1:6379/0"')


def _groups(sections: Sections) -> Iterator[Problem]:
    known = {provider.machine for provider in sections.providers}
    for name in sections.groups:
        if name not in known:
            hint = nearest(name, known) or f"the groups are {', '.join(sorted(known))}"
            yield Problem(("groups", name), "no provider in it", "a group with a provider", hint)
        if sections.groups[name].shared and sections.shared_redis is None:
            hint = 'cache.driver = "redis" with cache.url, or security.redis_url'
            yield Problem(("groups", name, "shared"), "true", "false, as there is no Redis to count its slots in", hint)


def _tls(server: ServerSettings) -> Iterator[Problem]:
    for name in ("tls_key", "client_ca"):
        if server.tls_cert is None and getattr(server, name) is not None:
            yield Problem(("server", name), "no tls_cert", "server.tls_cert with it")


def _security(sections: Sections) -> Iterator[Problem]:
    seen = set[str]()
    for index, issuer in enumerate(sections.security.jwt):
        path = ("security", "jwt", index)
        if (issuer.jwks_url is None) == (issuer.jwks_file is None):
            got = "neither" if issuer.jwks_url is None else "both"
            yield Problem((*path, "jwks_url"), got, "either jwks_url or jwks_file")
        if not issuer.algorithms:
            yield Problem((*path, "algorithms"), "none", "at least one algorithm")
        if issuer.issuer in seen:
            yield Problem((*path, "issuer"), f"{toml_value(issuer.issuer)} again", "an issuer of its own")
        seen.add(issuer.issuer)


def _tenancy(sections: Sections) -> Iterator[Problem]:
    owners: dict[Secret, str] = {}
    for tenant, settings in sections.tenancy.items():
        if tenant == ANY_TENANT and settings.api_key is not None:
            yield Problem(("tenancy", tenant, "api_key"), "a key for nobody in particular", "a tenant of its own")
        if settings.next_api_key is not None and settings.api_key is None:
            yield Problem(("tenancy", tenant, "next_api_key"), "no api_key", "api_key first")
        for name in ("api_key", "next_api_key"):
            secret = getattr(settings, name)
            if secret is None:
                continue
            if not secret.reveal():
                yield Problem(("tenancy", tenant, name), "an empty text", "a secret", "llm-pool keys create TENANT")
            elif secret in owners:
                want = f"a secret of its own, not the one of {owners[secret]}"
                yield Problem(("tenancy", tenant, name), "the same secret again", want)
            owners[secret] = f"tenancy.{tenant}.{name}"


def _models(sections: Sections) -> Iterator[Problem]:
    """Aliases; one for a provider that is off is no mistake, so that the switch can be thrown."""
    providers = {provider.name for provider in sections.providers}
    known = {POOL, *(f"{POOL}/{name.lower()}" for name in StrategyName), *providers, *sections.models}
    for alias, model in sections.models.items():
        if alias in providers or alias == POOL or alias.startswith(f"{POOL}/"):
            yield Problem(("models", alias), "the name of a model that is there", "a name of its own")
        elif model not in known and not model.startswith(f"{POOL}/task/"):
            hint = nearest(model, known - {alias}) or f"models are {', '.join(sorted(known - {alias}))}"
            yield Problem(("models", alias), f"{toml_value(model)}, which there is not", "the name of a model", hint)
        elif _leads_back(alias, sections.models):
            yield Problem(
                ("models", alias), f"{toml_value(model)}, which leads back to it", "a name that ends at a model"
            )


def _leads_back(alias: str, models: dict[str, str]) -> bool:
    seen, name = set[str](), alias
    while name in models and name not in seen:
        seen.add(name)
        name = models[name]
    return name in seen

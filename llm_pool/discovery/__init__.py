"""
Models that this machine has, and a configuration that asks them.

::

    OLLAMA_HOST, default ports ─probe─▶ models ─choose─▶ at most three ─replaced─▶ the configuration that counts
       (servers)          (probing, store)      (panel)          (standing_in)

``effective`` is the way through; the rest is for ``llm-pool config init``.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from llm_pool.discovery import store
from llm_pool.discovery.panel import by_size
from llm_pool.discovery.servers import DEFAULT_PORTS, servers_to_ask
from llm_pool.discovery.standing_in import addressed, missing, replaced, stand_ins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.discovery.models import FoundModel
    from llm_pool.discovery.servers import DefaultPort, ServerAddress


class Finding(msgspec.Struct, frozen=True):
    """
    A configuration, and who stands in for whom in it.

    Attributes:
        config: the one that counts.
        models: found ones that serve in it; empty: it is as its file says.
        instead_of: models of the file that are not installed.
    """

    config: Config
    models: tuple[FoundModel, ...] = ()
    instead_of: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """Which models serve, in one line for a person; empty where the file says it all."""
        if not self.models:
            return ""
        shown = _listed([f"{model.name} ({model.server})" for model in self.models])
        why = f" in the place of {_listed(self.instead_of)}, not installed" if self.instead_of else ""
        serve = "serves" if len(self.models) == 1 else "serve"
        return f"{shown} {serve}, found on this machine{why}; llm-pool config init writes it down"


def effective(
    config: Config,
    *,
    env: Mapping[str, str] = os.environ,
    ports: Sequence[DefaultPort] = DEFAULT_PORTS,
    cached: Path | None = None,
) -> Finding:
    """
    *config*, with models of this machine in the place of those that are not installed.

    Args:
        config: its ``discovery.timeout`` is what this takes at most, where nothing is known yet.
        env: has ``OLLAMA_HOST``, perhaps.
        ports: where servers may listen.
        cached: the file that keeps findings; None: the user's own.

    Raises:
        ConfigError: ``OLLAMA_HOST`` is no address.
    """
    servers = servers_to_ask(env, ports)
    return standing_in(config, find_models(servers, config.discovery.timeout, cached), servers)


def find_models(servers: Sequence[ServerAddress], timeout: float, cached: Path | None = None) -> tuple[FoundModel, ...]:
    """The models at *servers*: as they were found within the last minute, else as they are found now."""
    path = cached or store.default_path()
    known = store.load(path, servers, time.time())
    if known is not None:
        return known
    from llm_pool.discovery.probing import probe

    models = probe(servers, timeout)
    if models:  # nothing is not worth keeping: the next thing a person does is to start a server
        store.save(path, servers, models, time.time())
    return models


def standing_in(config: Config, models: Sequence[FoundModel], servers: Sequence[ServerAddress]) -> Finding:
    """
    *config* with the best of *models*, found at *servers*, in the place of those that are missing.

    Its providers at Ollama's default address are asked where ``OLLAMA_HOST`` says, also where nothing was found.
    """
    config, asked = addressed(config, servers), [server.url for server in servers]
    chosen = stand_ins(config, models, asked, machine_memory())
    if not chosen:
        return Finding(config)
    gone = missing(config, models, asked)
    return Finding(replaced(config, gone, chosen), tuple(chosen), tuple(provider.model for provider in gone))


def choosing(config: Config, models: Sequence[FoundModel]) -> Finding:
    """*config* with *models* in the place of all its providers, last resorts apart."""
    gone = [provider for provider in config.answering_providers if not provider.last_resort]
    return Finding(replaced(config, gone, by_size(models)), tuple(models))


def machine_memory() -> int | None:
    """Bytes of memory that this machine has; None where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _listed(names: Sequence[str]) -> str:
    return " and ".join([part for part in (", ".join(names[:-1]), *names[-1:]) if part])

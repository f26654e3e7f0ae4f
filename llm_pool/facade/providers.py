"""Providers written in a program instead of a file: what a ``[[providers]]`` section says, as a call."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict, Unpack

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from os import PathLike

    from llm_pool.core.messages import Think

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._:-]+")
_NAME_LENGTH: Final = 60


class ProviderOptions(TypedDict, total=False):
    """
    What any provider may say of itself, as in docs/configuration.md.

    Attributes:
        name: what answers and errors call it; left out, it is made of the model's.
        tasks: names of the tasks it serves; left out, all.
        timeout: seconds that one attempt may take at most.
        group: providers of one group share a machine.
    """

    name: str
    tasks: Sequence[str]
    weight: float
    timeout: float
    retries: int
    group: str
    think: Think
    context: int
    last_resort: bool
    prompt_variant: str


class ServerOptions(ProviderOptions, total=False):
    """
    What a provider behind HTTP may say besides.

    Attributes:
        api_key: sent as a bearer token; never shown.
        extra_body: merged into the body of every question.
        ca_file: authorities that the server's certificate may be from.
    """

    api_key: str
    headers: Mapping[str, str]
    extra_body: Mapping[str, Any]
    ca_file: str


class ProviderInCode:
    """
    A provider of a pool that a program puts together.

    Attributes:
        table: its section of a configuration; without a name where none was given.
    """

    driver: ClassVar[str]

    def __init__(self, model: str, **options: Any) -> None:
        if "timeout" in options:
            options["timeout_ms"] = round(options.pop("timeout") * 1000)
        self.table: dict[str, Any] = {"driver": self.driver, "model": model, **options}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.table['model']}>"


class Ollama(ProviderInCode):
    """
    A model of an Ollama server, by default of the one at ``OLLAMA_HOST`` or port 11434 of this machine.

    *keep_alive*: how long it stays loaded after a call: ``"30m"``, or seconds; -1 for ever.
    """

    driver = "ollama"

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        keep_alive: str | float | None = None,
        **options: Unpack[ServerOptions],
    ) -> None:
        own = {} if keep_alive is None else {"keep_alive": keep_alive}
        super().__init__(model, base_url=base_url or _own_ollama(), **own, **options)


class OpenAI(ProviderInCode):
    """A model of any server with OpenAI's API: vLLM, llama-server, LM Studio, SGLang."""

    driver = "openai"

    def __init__(self, model: str, *, base_url: str, **options: Unpack[ServerOptions]) -> None:
        super().__init__(model, base_url=base_url, **options)


class LlamaCpp(ProviderInCode):
    """
    A GGUF file, run by the embedded engine (the extra ``embedded``).

    *threads* of the processor; None: as many as there are cores.
    """

    driver = "llamacpp"

    def __init__(
        self, model: str | PathLike[str], *, threads: int | None = None, **options: Unpack[ProviderOptions]
    ) -> None:
        own = {} if threads is None else {"threads": threads}
        super().__init__(str(model), **own, **options)


def tables(providers: Sequence[ProviderInCode]) -> list[dict[str, Any]]:
    """The sections of *providers*, in their order; those without a name get one of their own."""
    taken = {provider.table["name"] for provider in providers if "name" in provider.table}
    found = []
    for provider in providers:
        name = provider.table.get("name") or _free(_name(provider.table["model"]), taken)
        taken.add(name)
        found.append({**provider.table, "name": name})
    return found


def _own_ollama() -> str:
    """Where Ollama's own programs look for it; raises ConfigError where ``OLLAMA_HOST`` is no address."""
    from llm_pool.discovery.servers import servers_to_ask

    return next(server.url for server in servers_to_ask(os.environ) if server.driver.value == Ollama.driver)


def _free(name: str, taken: Collection[str]) -> str:
    """*name*, with the first number that makes it one of its own."""
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbered) if each not in taken)


def _name(model: str) -> str:
    """A provider's name made of its model's: the last part of a path, without what names may not hold."""
    last = re.split(r"[/\\]", model)[-1].removesuffix(".gguf")
    return _NOT_IN_NAMES.sub("-", last).lstrip("._:-")[:_NAME_LENGTH] or "model"

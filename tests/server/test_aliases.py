"""Names of ``[models]``: for clients that ask for a model by a name of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError
from llm_pool.server.components import build_components

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MODELS = """
[models]
"gpt-4o-mini" = "pool/voting"
"org/old-name" = "gpt-4o-mini"
"phi4:latest" = "phi3"
"judge-of-all" = "pool/task/judge"
"""
CHAT = {"messages": [{"role": "user", "content": "hello"}], "stream": False}


@pytest.fixture
async def pool(daemons: Any, config_for: Callable[..., Config]) -> AsyncIterator[Any]:
    """A daemon with aliases."""
    components = build_components(config_for("http://127.0.0.1:9", MODELS))
    async with daemons(MODELS, components=msgspec.structs.replace(components, servers=())) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
@pytest.mark.parametrize(
    ("name", "strategy", "panel"),
    [
        ("gpt-4o-mini", "VOTING", 3),
        ("org/old-name", "VOTING", 3),
        ("phi4", "FASTEST", 1),
        ("phi4:latest", "FASTEST", 1),
    ],
)
async def test_an_alias_is_asked_as_what_it_stands_for(
    pool: Any, ask: Any, path: str, name: str, strategy: str, panel: int
) -> None:
    """On every API, with Ollama's tag and without."""
    reply = await ask(pool.url, "POST", path, {"model": name, **CHAT})

    assert reply.status == 200
    decision = reply.json["llm_pool"]["decision"]
    assert decision["strategy_asked"] == strategy
    assert len({attempt["provider"] for attempt in decision["attempts"]}) <= panel
    assert reply.json["model"] == name


async def test_aliases_are_listed_and_shown(pool: Any, ask: Any) -> None:
    openai = {model["id"] for model in (await ask(pool.url, "GET", "/v1/models")).json["data"]}
    ollama = {model["model"] for model in (await ask(pool.url, "GET", "/api/tags")).json["models"]}
    one = await ask(pool.url, "GET", "/v1/models/org%2Fold-name")
    shown = await ask(pool.url, "POST", "/api/show", {"model": "phi4"})

    assert {"gpt-4o-mini", "org/old-name", "phi4:latest"} <= openai
    assert {"gpt-4o-mini:latest", "org/old-name:latest", "phi4:latest"} <= ollama
    assert (one.status, one.json["id"], shown.status) == (200, "org/old-name", 200)


async def test_a_renamed_provider_breaks_nobody(daemons: Any, config_for: Callable[..., Config], ask: Any) -> None:
    """Its old name goes on as an alias; one for a provider that is off names nothing until it is on again."""
    url = "http://127.0.0.1:9"
    off = f'[[providers]]\nname = "off"\ndriver = "ollama"\nmodel = "m"\nbase_url = "{url}"\nenabled = false\n'
    extra = '[models]\nold = "gemma2"\nidle = "off"\n'
    components = build_components(config_for(url, extra + off))
    async with daemons(extra + off, components=msgspec.structs.replace(components, servers=())) as running:
        replies = [await ask(running.url, "POST", "/api/chat", {"model": name, **CHAT}) for name in ("old", "idle")]

    assert [reply.status for reply in replies] == [200, 404]
    assert replies[0].json["llm_pool"]["winner"] == "gemma2"


PROVIDER = '[[providers]]\nname = "phi3"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('a = "pool/juge"', "did you mean pool/judge"),
        ('a = "ph3"', "did you mean phi3"),
        ('a = "nothing-like-it"', "models are"),
        ('a = "a"', "leads back"),
        ('a = "b"\nb = "c"\nc = "a"', "leads back"),
        ('a = "b"\nb = "b"', "leads back"),
        ('phi3 = "pool"', "a name of its own"),
        ('pool = "phi3"', "a name of its own"),
        ('"pool/best" = "phi3"', "a name of its own"),
        ('"a b" = "phi3"', "without spaces"),
        ('"" = "phi3"', "without spaces"),
        ("a = 5", "a string"),
    ],
)
def test_what_stands_for_nothing_is_a_mistake_in_the_file(line: str, said: str) -> None:
    """Told with its line and the nearest model there is."""
    with pytest.raises(ConfigError) as raised:
        parse(f"{PROVIDER}[models]\n{line}\n", Path("llm-pool.toml"))

    assert said in f"{raised.value} {raised.value.hint}"
    assert raised.value.line


async def test_a_task_that_there_is_not_is_told_when_the_pool_is_built(daemons: Any) -> None:
    """Tasks are files, which the configuration alone does not look at."""
    with pytest.raises(ConfigError, match=r"models\.a: expected a task's name") as raised:
        async with daemons('[models]\na = "pool/task/expand_querys"\n'):
            pass

    assert raised.value.hint == "did you mean expand_queries?"

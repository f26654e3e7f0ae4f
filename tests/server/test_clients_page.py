"""docs/clients.md works as it stands, against a daemon with all its HTTP parts."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.messages import Query
from llm_pool.engine.composition import open_app
from llm_pool.server import ollama, openai
from llm_pool.server.components import build_components
from llm_pool.testing.upstream import Upstream
from llm_pool.testing.upstream.machine import Model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import CodeType

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

WHOLE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
PAGE = re.sub(r"<!-- clients: made.*?<!-- clients: end -->", "", WHOLE, flags=re.DOTALL)
"""Without the lines that are made from the drivers of bench/clients, which run them."""
SHOWN = "http://127.0.0.1:7071"


def blocks(language: str) -> list[str]:
    """The page's examples."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
async def url(daemons: Any, config_for: Callable[..., Config]) -> AsyncIterator[str]:
    """Where a daemon listens whose models know one city, and one makes embeddings."""
    components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
    (embedder,) = [text for text in blocks("toml") if "embed" in text]
    async with (
        Upstream([Model(name="nomic-embed-text:latest", embeds=True)]) as up,
        daemons(embedder.replace("http://127.0.0.1:11434", up.url), components=components, answer=said) as daemon,
    ):
        yield daemon.url


def run(program: CodeType) -> None:
    """Run *program*, then close the connections it leaves open, as its exit would."""
    names: dict[str, Any] = {"__name__": "clients"}
    exec(program, names)  # our own page
    for client in (names["client"], names["model"].root_client, names["ollama"]._client, names["claude"]):
        client.close()


def said(asked: Any) -> str:
    """A city as JSON where JSON is wanted, a sentence elsewhere."""
    return "the sky is blue" if asked.schema is None else '{"name": "Rome", "people": 2800000}'


async def test_the_python_on_the_page_runs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Block after block, as one program."""
    program = compile("".join(blocks("python")).replace(SHOWN, url), "docs/clients.md", "exec")

    await anyio.to_thread.run_sync(run, program)

    printed = capsys.readouterr().out
    assert printed.count("the sky is blue") == 7
    assert "2 8 numbers" in printed
    assert "Rome" in printed
    assert "pool/judge:latest" in printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
async def test_the_command_on_the_page_works(url: str) -> None:
    """It is answered."""
    (command,) = blocks("sh")

    process = await asyncio.create_subprocess_shell(command.replace(SHOWN, url), stdout=asyncio.subprocess.PIPE)

    assert b'"content":"the sky is blue"' in (await process.communicate())[0]


async def test_the_second_pool_on_the_page_answers(url: str, tmp_path: Path) -> None:
    """By vote of its two providers, which are this pool."""
    (text,) = [text for text in blocks("toml") if "downstairs" in text]
    config = parse(text.replace(SHOWN, url), tmp_path / "llm-pool.toml")

    async with open_app(config) as app:
        answer = await app.orchestrator.infer(Query(prompt="hello", deadline=5.0))

    assert answer.content == "the sky is blue"


def test_what_is_refused_or_without_effect_is_on_the_page() -> None:
    """Field by field, in words or by name."""
    refused, ignored = re.findall(r"^\*\*(?:Refused|Without effect)\*\*.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    words = {"audio": "audio", "web_search_options": "web"}
    words |= {"frequency_penalty": "penalties", "presence_penalty": "penalties"}

    for field in {**openai.UNSUPPORTED, **ollama.UNSUPPORTED}:
        assert words.get(field, f"`{field}`") in refused, field
    for field in openai.IGNORED:
        assert words.get(field, f"`{field}`") in ignored, field

"""R25: a hundred queries, good and bad, get the same JSON from the command line, over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import httpx2
import msgspec
import pytest

from llm_pool.cli.main import run
from llm_pool.config import load
from llm_pool.server.components import build_components
from llm_pool.server.daemon import open_daemon
from llm_pool.server.status import STATUSES
from llm_pool.testing.upstream import ScriptedAnswer, Upstream
from llm_pool.testing.upstream.answers import generated
from llm_pool.wire import llmpool_pb2 as pb
from llm_pool.wire.codec import answer_body
from llm_pool.wire.json import error_code, error_from

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from llm_pool.testing.upstream import TextRequest

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
PACE = 0.025
"""Seconds between the answers of two models, so that they come in one order."""
CONFIG = """
[server]
http_addr = "127.0.0.1:0"
grpc_addr = "127.0.0.1:0"
[qos]
max_deadline_ms = 3000
budget_floor = 1000
[breaker]
fail_rate = 1.0
window_size = 10000
min_calls = 10000
[cache]
enabled = false
[trust]
enabled = false
[ensemble]
disabled = ["WEIGHTED"]
[tasks.recovery_plan]
enabled = false
"""
IDS = [f"n{number}" for number in range(12)]
LIST = {"query": "lounge", "candidates": [{"id": name, "title": f"title {name}"} for name in IDS]}
STRATEGIES = ("FASTEST", "VOTING", "CONSENSUS", "JUDGE", None)
ASKED = [
    *({"prompt": f"which colour is number {n}?", "strategy": STRATEGIES[n % 5]} for n in range(25)),
    *({"prompt": f"split {n}", "strategy": STRATEGIES[n % 5]} for n in range(20)),
    *({"prompt": f"lounge videos {n}", "task": "expand_queries", "strategy": STRATEGIES[n % 5]} for n in range(10)),
    *({"prompt": {**LIST, "query": f"q{n}"}, "task": "rerank_candidates", "strategy": "VOTING"} for n in range(5)),
    *({"prompt": f"Grüße, 世界 {n} \x07", "max_tokens": 5 + n, "deadline_ms": 2000} for n in range(5)),
    *({"prompt": f"silence {n}", "strategy": STRATEGIES[n % 5]} for n in range(5)),
    *({"prompt": "hello", "strategy": name} for name in ("weighted", "WEIGHTED", "7", "8", "-1")),
    *({"prompt": "hello", "task": name} for name in ("expand_querys", "nope", "recovery_plan", "../ask", "Ask", "é")),
    *({"prompt": prompt} for prompt in (" ", "\n\t")),
    *({"prompt": prompt, "task": "expand_queries"} for prompt in ("x" * 16385, "é" * 9000)),
    *({"prompt": prompt, "task": "rerank_candidates"} for prompt in ("no json", "[1]", "{}", '{"query": 1}', "null")),
    *({"prompt": "hello", "deadline_ms": ms} for ms in (-1, -5000)),
    *({"prompt": f"slow {n}", "deadline_ms": 60} for n in range(8)),
]
"""As HTTP takes them."""


class Said3(NamedTuple):
    """What one protocol said: a kind (``ok`` or the error's code), and the JSON without what may differ."""

    kind: str
    body: Any


def answer(ask: TextRequest) -> ScriptedAnswer:
    """Two models agree, the third differs where it is asked to split; a judge looks for blue."""
    at = MODELS.index(ask.model)
    if ask.top_logprobs and ask.max_tokens == 1:
        letter = re.search(r"<answer (\w) \w+>\n[^\n]*blue", ask.user)
        chosen = letter[1] if letter else "A"
        return ScriptedAnswer(chosen, PACE * at, top=((chosen, -0.1), ("Z", -3.0)))
    if "silence" in ask.user:
        return ScriptedAnswer("", PACE * at)
    if "slow" in ask.user:
        return ScriptedAnswer("too late", 20.0)
    if "ranking" in (ask.schema or {}).get("properties", {}):  # one that no shuffling of the list comes near to
        return ScriptedAnswer(json.dumps({"ranking": sorted(IDS)}), PACE * at, PACE * at)
    if ask.schema is not None:
        return msgspec.structs.replace(generated(ask), ttft=PACE * at, duration=PACE * at)
    number = re.sub(r"\D", "", ask.user)
    return ScriptedAnswer(
        f"red {number}" if "split" in ask.user and at == 1 else f"blue {number}", PACE * at, PACE * at
    )


@asynccontextmanager
async def serving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str = CONFIG) -> AsyncIterator[dict[str, str]]:
    """A daemon's URLs by scheme; the command line finds the same configuration."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))
    async with Upstream(MODELS, answer=answer) as up:
        path = tmp_path / "llm-pool.toml"
        providers = "".join(
            f'[[providers]]\nname = "{m.partition(":")[0].replace(".", "")}"\nmodel = "{m}"\ndriver = "ollama"\n'
            f'base_url = "{up.url}"\nretries = 0\n'
            for m in MODELS
        )
        path.write_text(f'{more}\n[groups."{up.url}"]\nslots = 64\n{providers}')
        monkeypatch.setenv("LLM_POOL_CONFIG", str(path))
        config = await asyncio.to_thread(load, path)
        async with open_daemon(config, await asyncio.to_thread(build_components, config)) as daemon:
            yield {url.partition("://")[0]: url for url in daemon.urls}


async def test_a_hundred_queries_get_the_same_json_by_each_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for times and ids; the errors have one status each, by the table."""
    assert len(ASKED) == 100
    kinds = set()

    async with (
        serving(tmp_path, monkeypatch) as urls,
        httpx2.AsyncClient(base_url=urls["http"]) as http,
        grpc.aio.insecure_channel(urls["grpc"].partition("://")[2]) as channel,
    ):
        for asked in ASKED[:60:5]:  # what is imported at first use would hold up three answers until they are one
            await by_http(http, asked)
        for asked in ASKED:
            over_http, over_grpc = await asyncio.gather(by_http(http, asked), by_grpc(channel, asked))
            by_command = await asyncio.to_thread(by_cli, asked)

            assert over_grpc == over_http, asked
            assert by_command == over_http, asked
            kinds.add(over_http.kind)

    assert {"ok", "invalid_request", "deadline_exceeded", "all_providers_failed"} <= kinds


@pytest.mark.parametrize("protocol", ["http", "grpc"])
async def test_a_daemon_asked_by_url_says_what_the_pool_in_process_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """Real processes: an answer, a stream's events, an error with its exit code, a batch, health."""
    async with serving(tmp_path, monkeypatch) as urls:
        url = ("--url", urls[protocol])
        for words, given in (
            (["infer", "which colour is number 7?", "--json", "-s", "VOTING"], ""),
            (["infer", "which colour is number 7?", "--no-stdin"], ""),
            (["infer", "hello", "--task", "nope", "--json"], ""),
            (["infer", "--input", "-"], '"split 1"\n{"prompt": "split 2", "task": "nope"}\n'),
            (["health", "--json"], ""),
        ):
            here, there = await asyncio.gather(process(words, given), process([*words, *url], given))

            assert there == here, words


async def test_one_cache_stands_behind_both_faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HTTP was told, gRPC is told again."""
    more = CONFIG.replace("enabled = false", "enabled = true", 1)
    async with (
        serving(tmp_path, monkeypatch, more) as urls,
        httpx2.AsyncClient(base_url=urls["http"]) as http,
        grpc.aio.insecure_channel(urls["grpc"].partition("://")[2]) as channel,
    ):
        asked = {"prompt": "which colour is number 1?"}
        first, second = await by_http(http, asked), await by_grpc(channel, asked)

    assert not first.body["from_cache"]
    assert second.body["from_cache"]
    assert second.body["content"] == first.body["content"]


async def by_http(http: httpx2.AsyncClient, asked: dict[str, Any]) -> Said3:
    response = await http.post("/v1/infer", json={name: value for name, value in asked.items() if value is not None})
    said = settled(response.json())
    assert response.status_code == (200 if said.kind == "ok" else status(response.json()).http)
    return said


async def by_grpc(channel: grpc.aio.Channel, asked: dict[str, Any]) -> Said3:
    prompt, name = asked["prompt"], asked.get("strategy") or "0"
    query = pb.Query(
        prompt=prompt if isinstance(prompt, str) else json.dumps(prompt, separators=(",", ":"), ensure_ascii=False),
        task_name=asked.get("task", ""),
        strategy=name.upper() if name.isalpha() else int(name),
        max_tokens=asked.get("max_tokens", 0),
        deadline_ms=asked.get("deadline_ms", 0),
    )
    try:
        data = await channel.unary_unary("/llmpool.v1.LLMPool/Infer")(query.SerializeToString())
    except grpc.aio.AioRpcError as error:
        body, code = {"error": json.loads(dict(error.trailing_metadata())["llmpool-error"])}, error.code().name
    else:
        body, code = answer_body(pb.Answer.FromString(data)), "OK"
    assert code == ("OK" if "error" not in body else status(body).grpc)
    return settled(body)


def by_cli(asked: dict[str, Any]) -> Said3:
    """The command itself, in this process."""
    prompt = asked["prompt"]
    words = ["infer", "--json", "--no-stdin"]
    words += [f"--{name.replace('_', '-')}={asked[name]}" for name in asked if name != "prompt" and asked[name]]
    words += [
        "--",
        prompt if isinstance(prompt, str) else json.dumps(prompt, separators=(",", ":"), ensure_ascii=False),
    ]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    body = json.loads(out.getvalue() if code == 0 else err.getvalue().splitlines()[-1])
    if "error" in body:
        del body["error"]["exit_code"]
        if (body["error"]["hint"] or "").startswith("llm-pool "):
            body["error"]["hint"] = None  # a command to type here, which nobody else is told
    return settled(body)


async def process(words: list[str], given: str) -> tuple[int, Any, str]:
    """Exit code, settled JSON of each line of stdout, and stderr without times."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "llm_pool", *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = done.stdout.strip() if "--no-stdin" in words else [settled(json.loads(x)) for x in _lines(done.stdout)]
    return done.returncode, lines, done.stderr


def _lines(text: str) -> list[str]:
    try:
        json.loads(text)
    except ValueError:
        return text.splitlines()
    return [text]


def settled(body: dict[str, Any]) -> Said3:
    """*body* without times and ids; of a deadline that passed only that it did: who was asked depends on the moment."""
    kind = body["error"]["code"] if "error" in body else "ok"
    return Said3(kind, None if kind == "deadline_exceeded" else _settled(body))


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _settled(inner)
            for name, inner in value.items()
            if not name.endswith("_ms") and name not in {"request_id", "judge"}
        }
    if isinstance(value, list):
        return [_settled(inner) for inner in value]
    return re.sub(r"\d+\.\d+ s|\d+ ms", "T", value) if isinstance(value, str) else value


def status(body: dict[str, Any]) -> Any:
    """The row of the status table for an error's body."""
    error = error_from(body)
    assert error_code(error) == body["error"]["code"]
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)

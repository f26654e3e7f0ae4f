"""A program that uses llm-pool, as type checkers see it: every ``assert_type`` is a promise."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, TypedDict, assert_type

import msgspec
import pydantic

from llm_pool import (
    Answer,
    AsyncPool,
    Config,
    Decision,
    Health,
    HmacKey,
    LlamaCpp,
    LlmPoolError,
    Ollama,
    OpenAI,
    Pool,
    Query,
    StrategyName,
    load,
)


class City(pydantic.BaseModel):
    name: str


@dataclasses.dataclass
class Town:
    name: str


class Village(TypedDict):
    name: str


class Hamlet(msgspec.Struct):
    name: str


def values(pool: Pool) -> None:
    assert_type(pool.infer("Name one.", schema=City), Answer[City])
    assert_type(pool.infer("Name one.", schema=City).value.name, str)
    assert_type(pool.infer("Name one.", schema=Town).value, Town)
    assert_type(pool.infer("Name one.", schema=Village).value, Village)
    assert_type(pool.infer("Name one.", schema=Hamlet, strategy="voting", deadline=3.0).value, Hamlet)
    assert_type(pool.infer("Name some.", schema=list[Town]).value, list[Town])
    assert_type(pool.infer("How many?", schema={"type": "integer"}), Answer[Any])
    assert_type(pool.infer("Is 17 prime?", strategy=StrategyName.VOTING).content, str)
    assert_type(pool.infer({"candidates": []}, task="judge").decision, Decision)
    assert_type(pool.infer(Query(prompt="hello")).decision.agreement, float | None)
    assert_type(pool.chat([{"role": "user", "content": "hello"}], schema=Town).value, Town)


def text(pool: Pool) -> str:
    pieces = pool.stream("Tell me of the sea.", system="Be brief.", providers=["a"], think="low")
    whole = "".join(pieces)
    assert_type(pieces.answer, Answer[Any])
    return whole


def others(pool: Pool) -> None:
    assert_type(pool.health(), Health)
    assert_type(pool.feedback("id", good=True), bool)
    try:
        pool.infer("hello")
    except LlmPoolError as error:
        assert_type(error.hint, str)


async def twin() -> None:
    config: Config = load_it()
    async with AsyncPool(config=config) as pool:
        assert_type((await pool.infer("Name one.", schema=City)).value, City)
        assert_type((await pool.chat([{"role": "user", "content": "hello"}])).value, Any)
        async with pool.stream([{"role": "user", "content": "hello"}]) as pieces:
            async for piece in pieces:
                assert_type(piece, str)


def load_it() -> Config:
    from pathlib import Path

    return load(Path("llm-pool.toml"))


def main() -> None:
    models = [
        Ollama("qwen3:4b", weight=0.5, keep_alive="30m"),
        OpenAI(model="qwen2.5", base_url="http://127.0.0.1:8000", api_key="sk-1", timeout=2.0),
        LlamaCpp("tiny.gguf", threads=2),
    ]
    with Pool(providers=models, settings={"qos": {"hedge": "off"}}) as pool:
        values(pool)
        assert_type(text(pool), str)
        others(pool)
    with Pool(url="http://127.0.0.1:7071", credentials=HmacKey("me", "secret")) as pool:
        values(pool)
    asyncio.run(twin())

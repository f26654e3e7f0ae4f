"""``/api/embed`` and ``/v1/embeddings``: the same vector for a text every time, another for each model."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from llm_pool.testing.upstream.machine import QueueFull
from llm_pool.testing.upstream.ollama import BUSY, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.testing.upstream.exchange import Exchange
    from llm_pool.testing.upstream.inference import AnswerGenerator
    from llm_pool.testing.upstream.machine import Machine, Model
    from llm_pool.testing.upstream.modes import Modes

DIMENSIONS = 8
"""Of a vector where the request asks for no other number."""


async def embed(
    body: dict[str, Any], model: Model, exchange: Exchange, generator: AnswerGenerator, modes: Modes, machine: Machine
) -> None:
    """Answer *body*: spoiled by a mode, refused by the machine, or with vectors after the time to a first token."""
    mode = modes.next(model.name, generator.random(model.name))
    exchange.entry.mode = str(mode)
    ttft, _ = generator.times(model.name)
    if await exchange.apply_fault(mode):
        return
    try:
        async with machine.serve(model, keep_alive=300.0) as exchange.entry.loading:
            await asyncio.sleep(ttft)
            exchange.send(200, encode(_answer(body, model, exchange.request.path)))
    except QueueFull:
        exchange.refuse(503, BUSY)


def vector(model: str, text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Where *text* lies for *model*: each number in [-1, 1]."""
    seeds = (hashlib.sha256(f"{model} {at} {text}".encode()).digest() for at in range(dimensions))
    return [int.from_bytes(seed[:4]) / 2**31 - 1 for seed in seeds]


def _answer(body: dict[str, Any], model: Model, path: str) -> dict[str, Any]:
    asked = body.get("input") or []
    texts: Sequence[str] = [asked] if isinstance(asked, str) else asked
    vectors = [vector(model.name, text, body.get("dimensions") or DIMENSIONS) for text in texts]
    tokens = sum(1 + len(text) // 4 for text in texts)
    if path == "/api/embed":
        times = {"total_duration": 14143917, "load_duration": 1019500}
        return {"model": body["model"], "embeddings": vectors, **times, "prompt_eval_count": tokens}
    listed = [{"object": "embedding", "embedding": found, "index": at} for at, found in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": listed, "model": body["model"], "usage": usage}

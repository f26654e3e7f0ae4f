"""``/api/pull``: a download that takes its time, tells its progress, and resumes where it was left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from llm_pool.testing.upstream.machine import Model
from llm_pool.testing.upstream.ollama import NDJSON, digest, encode

if TYPE_CHECKING:
    from llm_pool.testing.upstream.exchange import Exchange
    from llm_pool.testing.upstream.modes import Mode

PLAIN = (("Content-Type", "application/json"),)
TICK = 0.02  # seconds between two lines of progress


class Registry:
    """
    Where models are pulled from.

    Args:
        sizes: bytes, by name; None: every name is there, at 64 MiB.
        rate: bytes per second.

    Attributes:
        done: bytes fetched so far, by name; kept when a pull breaks off.
    """

    def __init__(self, sizes: dict[str, int] | None, rate: float) -> None:
        self._sizes, self.rate = sizes, rate
        self.done: dict[str, int] = {}

    def size(self, name: str) -> int | None:
        """Bytes; None if there is no such model."""
        return 64 * 2**20 if self._sizes is None else self._sizes.get(name)


async def pull(name: str, exchange: Exchange, registry: Registry, mode: Mode) -> Model | None:
    """
    Fetch *name*, line by line unless the request says otherwise; the model, or None if that failed.

    Of the modes, ``error`` fails it, and ``cut:N``, ``reset:N`` and ``stall:N`` break off after N lines of progress.
    """
    size, stream = registry.size(name), exchange.entry.body.get("stream", True)
    if size is None or mode.name == "error":
        _fail(exchange, "pull model manifest: file does not exist", stream=stream)
        return None
    if stream:
        exchange.entry.status = 200
        exchange.connection.begin(200, NDJSON)
        _line(exchange, {"status": "pulling manifest"})
    if not await _fetch(name, size, exchange, registry, mode, stream=stream):
        return None
    if stream:
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            _line(exchange, {"status": status})
        exchange.connection.finish()
        exchange.entry.ending = "answered"
    else:
        exchange.send(200, encode({"status": "success"}), headers=PLAIN)
    return Model(name=name, size=size)


async def _fetch(name: str, size: int, exchange: Exchange, registry: Registry, mode: Mode, *, stream: bool) -> bool:
    layer = {"status": f"pulling {digest(name)[:12]}", "digest": f"sha256:{digest(name)}", "total": size}
    lines = 0
    while True:
        done = registry.done.setdefault(name, 0)
        if stream:
            _line(exchange, layer | ({"completed": done} if done else {}))
            lines += 1
            if mode.name in {"cut", "reset", "stall"} and lines > mode.value:
                await _break_off(exchange, mode)
                return False
        if done >= size:
            return True
        await asyncio.sleep(TICK)
        registry.done[name] = min(size, done + max(1, int(registry.rate * TICK)))


async def _break_off(exchange: Exchange, mode: Mode) -> None:
    exchange.entry.ending = "broken"
    if mode.name == "cut":
        exchange.connection.cut(b'{"status":"pulling')
    elif mode.name == "reset":
        exchange.connection.reset()
    else:
        await asyncio.Event().wait()


def _fail(exchange: Exchange, message: str, *, stream: bool) -> None:
    if not stream:
        exchange.send(500, encode({"error": message}), headers=PLAIN)
        return
    exchange.entry.status, exchange.entry.ending = 200, "broken"
    exchange.connection.begin(200, NDJSON)
    _line(exchange, {"status": "pulling manifest"})
    _line(exchange, {"error": message})
    exchange.connection.finish()


def _line(exchange: Exchange, value: dict[str, Any]) -> None:
    exchange.connection.chunk(encode(value) + b"\n")

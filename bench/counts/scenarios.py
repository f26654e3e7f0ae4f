"""The requests that are counted, each over HTTP to a whole daemon of this process."""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from bench.counts.counting import CountingLoop, Counts
from bench.counts.outside import Outside
from bench.load.daemon import providers
from bench.load.nginx import MODEL, PIECES
from bench.load.questions import PROMPT, chat_body, infer_body
from llm_pool.config import parse
from llm_pool.server.components import build_components
from llm_pool.server.daemon import open_daemon

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER = '[server]\nhttp_addr = "127.0.0.1:0"\nenable_grpc = false\n'
CROWDED = '[qos]\nqueue_limit = 0\n[groups."{url}"]\nslots = 1\n'
WARM = 20
"""Requests before the first that counts: then connections are kept, and what is learned once is known."""
COUNTED = 15
LONGER = 20
"""Pieces by which the longer of two streams is longer."""


class Scenario(NamedTuple):
    """
    A request, asked again and again.

    Attributes:
        body: of request number so and so.
        pieces: that each model says.
        is_refused: one request has the only slot and is never answered, and nobody may wait.
    """

    path: str
    body: Callable[[int], str]
    models: int = 1
    pieces: tuple[str, ...] = PIECES
    is_refused: bool = False


def _new(number: int) -> str:
    return PROMPT.replace("@", str(number))


def _stream(number: int) -> str:
    return infer_body(prompt=_new(number), stream=True)


SCENARIOS = {
    "infer, FASTEST, one provider": Scenario("/v1/infer", lambda number: infer_body(prompt=_new(number))),
    "cache hit": Scenario("/v1/infer", lambda _: infer_body(prompt=_new(0))),
    "VOTING of three": Scenario("/v1/infer", lambda n: infer_body(prompt=_new(n), strategy="VOTING"), models=3),
    "chat completion": Scenario("/v1/chat/completions", lambda n: chat_body("pool", prompt=_new(n))),
    "a refusal": Scenario("/v1/infer", lambda n: infer_body(prompt=_new(n)), is_refused=True),
}
STREAM = Scenario("/v1/infer", _stream, pieces=("piece ",) * len(PIECES))
LONG_STREAM = STREAM._replace(pieces=STREAM.pieces + ("piece ",) * LONGER)


def every() -> dict[str, Counts]:
    """What each request costs, by its name, and a piece of a stream."""
    found = {name: counted(scenario) for name, scenario in SCENARIOS.items()}
    more = counted(LONG_STREAM) - counted(STREAM)
    found["a streamed chunk"] = Counts(*(max(0, round(each / LONGER, 2)) for each in more))
    return found


def counted(scenario: Scenario) -> Counts:
    """What one request of *scenario* costs: the median of several."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=CountingLoop) as runner:
        os.environ["LLM_POOL_STATE"] = folder
        return runner.run(_counted(scenario, Path(folder)))


async def _counted(scenario: Scenario, folder: Path) -> Counts:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    with Outside(loop, scenario.models) as outside:
        crowded = CROWDED.format(url=outside.urls[0]) if scenario.is_refused else ""
        config = parse(SERVER + crowded + providers(outside.urls, MODEL), folder / "llm-pool.toml")
        async with open_daemon(config, build_components(config)) as daemon:
            return await asyncio.to_thread(_driven, loop, outside, urlsplit(daemon.urls[0]).port or 0, scenario)


def _driven(loop: CountingLoop, outside: Outside, port: int, scenario: Scenario) -> Counts:
    """In a thread of its own: warm up, then count each request."""
    if scenario.is_refused:
        outside.hold(port, scenario.path, infer_body(deadline_ms=600_000))
    outside.connect(port)
    for number in range(WARM):
        outside.ask(scenario.path, scenario.body(number), scenario.pieces)
    gc.collect()
    gc.disable()  # what a request leaves behind is counted before anybody looks for it
    seen = [loop.counts()]
    for number in range(WARM, WARM + COUNTED):
        response = outside.ask(scenario.path, scenario.body(number), scenario.pieces)
        assert response.startswith(b"HTTP/1.1 503" if scenario.is_refused else b"HTTP/1.1 200"), response
        seen.append(loop.counts())
    gc.enable()
    each = [after - before for before, after in pairwise(seen)]
    return Counts(*(median(one) for one in zip(*each, strict=True)))

"""
``python -m bench.load.client``: posts over our own HTTP client, and says as JSON what became of it.

Either so many requests over so many connections, or so many a second for some seconds, whoever still waits. What it
costs by itself is in the report too: that is what reading a stream costs where nobody stands between.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_pool.core.errors import ProviderError
from llm_pool.providers.transport import Backend, Transport
from llm_pool.server.event_loop import loop_factory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Report(NamedTuple):
    """
    What the client saw.

    Attributes:
        statuses: how many requests ended with each HTTP status; 0 is no response at all.
        times: seconds of each that was answered with 200, and of each other.
        pieces: of bodies that came one by one.
        cpu: seconds, of the client itself.
        took: seconds.
    """

    statuses: Mapping[int, int]
    answered: Sequence[float]
    refused: Sequence[float]
    pieces: int
    cpu: float
    took: float


class Client:
    """Posts *body* to *path*; an ``@`` in it becomes a number of its own."""

    def __init__(self, url: str, path: str, body: str, run: str, idle: int) -> None:
        self._transport, self._backend, self._path = Transport(max_idle=idle), Backend("bench", url), path
        self._before, _, self._after = body.partition("@")
        self._run, self._numbers = run, count()
        self.statuses, self.pieces = Counter[int](), 0
        self.answered, self.refused = list[float](), list[float]()

    async def post(self) -> None:
        """One request, to the end of its answer."""
        now = asyncio.get_running_loop().time
        began, status = now(), 0
        body = f"{self._before}{self._run}-{next(self._numbers)}{self._after}".encode()
        try:
            async with self._transport.stream(self._backend, "POST", self._path, body) as response:
                status = response.status
                while await response.piece() is not None:
                    self.pieces += 1
        except ProviderError:
            status = 0
        self.statuses[status] += 1
        (self.answered if status == 200 else self.refused).append(now() - began)

    async def closed(self, connections: int, requests: int) -> None:
        """*requests* in all, *connections* at once."""
        left = iter(range(requests))

        async def one_after_the_other() -> None:
            for _ in left:
                await self.post()

        await asyncio.gather(*(one_after_the_other() for _ in range(connections)))

    async def open(self, rate: float, seconds: float) -> None:
        """*rate* requests a second, evenly, whether earlier ones were answered or not."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                await asyncio.sleep(began + number / rate - loop.time())
                group.create_task(self.post())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


def posted(url: str, path: str, body: str, *, run: str, **options: float) -> Report:
    """What a client in a process of its own says; *options* as on its command line."""
    words = [word for name, value in options.items() for word in (f"--{name}", f"{value:g}")]
    command = [sys.executable, "-m", "bench.load.client", url, path, body, "--run", run, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # this module
    if done.returncode:
        raise RuntimeError(f"the client failed: {done.stderr.strip()[-500:]}")
    said = json.loads(done.stdout)
    return Report(**said | {"statuses": {int(status): count for status, count in said["statuses"].items()}})


async def report(options: Any) -> Report:
    """Do as *options* say."""
    client = Client(options.url, options.path, options.body, options.run, idle=1024)
    loop, before = asyncio.get_running_loop(), os.times()
    began = loop.time()
    if options.rate:
        await client.open(options.rate, options.seconds)
    else:
        await client.closed(int(options.connections), int(options.requests))
    used = os.times()
    cpu = used.user + used.system - before.user - before.system
    took = loop.time() - began
    await client.aclose()
    return Report(client.statuses, client.answered, client.refused, client.pieces, cpu, took)


def main() -> None:
    """As the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("url", "path", "body"):
        parser.add_argument(name)
    parser.add_argument("--run", default="0", help="tells these requests from those of other runs")
    for name in ("connections", "requests", "rate", "seconds"):
        parser.add_argument(f"--{name}", type=float, default=0)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(json.dumps(runner.run(report(parser.parse_args()))._asdict()))


if __name__ == "__main__":
    main()

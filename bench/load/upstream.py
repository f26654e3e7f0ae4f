"""
``python -m bench.load.upstream``: an OpenAI-shaped server that takes its time; its URL is the first line it prints.

Streamed, an answer is ``--chunks`` pieces, ``--every`` seconds apart; otherwise it comes after ``--delay`` seconds, as
the first piece of a stream does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, cast

from bench.load.nginx import completion, models, sse
from bench.load.processes import running, until
from llm_pool.server.event_loop import loop_factory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Pace(NamedTuple):
    """How an answer comes: *events* of a stream, seconds before the first of them, and between two."""

    events: list[bytes]
    whole: bytes
    delay: float
    every: float


class Model(asyncio.Protocol):
    """One connection; its requests come one after the other, each with a Content-Length or no body."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._buffer = pace, b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """It asks."""
        self._buffer += data
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
        if not blank or len(body) < length:
            return
        self._buffer = body[length:]
        if b"/chat/completions" not in head:
            self._respond(models().encode() if b"/models" in head else b"{}")
        elif json.loads(body[:length]).get("stream"):
            self._loop.call_later(self._pace.delay, self._begin)
        else:
            self._loop.call_later(self._pace.delay, self._respond, self._pace.whole)

    def _begin(self) -> None:
        self._transport.write(STREAM_HEAD)
        self._event(0, self._loop.time())

    def _event(self, number: int, due: float) -> None:
        """Send event *number*, which was *due* at an instant; late ones do not delay the others."""
        events = self._pace.events
        if self._transport.is_closing():
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(events[number]), events[number]))
        if number + 1 == len(events):
            self._transport.write(b"0\r\n\r\n")
        elif number + 3 >= len(events):  # the end, and the count of tokens, come with the last piece
            self._event(number + 1, due)
        else:
            self._loop.call_at(due + self._pace.every, self._event, number + 1, due + self._pace.every)

    def _respond(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(pace: Pace) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Model(pace), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


@contextmanager
def paced(log: Path, *, chunks: int = 4, every: float = 0.0, delay: float = 0.0) -> Iterator[str]:
    """The URL of such a server, in a process of its own."""
    options = ["--chunks", str(chunks), "--every", str(every), "--delay", str(delay)]
    with running([sys.executable, "-m", "bench.load.upstream", *options], log=log) as process:
        until(lambda: log.read_text("utf-8").endswith("\n"), process, log, within=20)
        yield log.read_text("utf-8").strip()


def main() -> None:
    """As the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--every", type=float, default=0.0)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    pieces = [f"word{number} " for number in range(options.chunks)]
    pace = Pace(sse(pieces), completion(pieces).encode(), options.delay, options.every)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(pace))


if __name__ == "__main__":
    main()

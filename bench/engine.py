"""
What a request costs inside: CPU time, tasks, timers and Python calls, from a query to its answer.

    python bench/engine.py [--against TREE] [--rounds N] [--requests N] [--export FILE]

One process holds the whole pool, as the daemon does, but no server and no observers; a bare upstream in another one
answers with a short stream of events. CPU time is that of the pool's process alone, on uvloop, sixteen requests at a
time. *TREE* is another checkout of this repository: its figures are taken in turn with ours, round by round, so that
whatever else the machine does hits both, and the medians are compared. Counts do not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

ROOT = Path(__file__).resolve().parents[1]
AT_ONCE = 16
QUEUED = 56
"""Requests that wait in the case ``queue``, which has a slot for each of the other sixteen."""
CHUNKS = 100
CHUNK_PAUSE = 0.002
CASES = ("infer", "hit", "queue", "voting", "stream", "raw", "raw_stream")


# The upstream


def _event(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}], "model": "m"}).encode() + b"\n\n"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST = _event(delta={"role": "assistant", "content": ""}, finish_reason=None)
TOKEN = _event(delta={"content": " blue"}, finish_reason=None)
COUNTS = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
LAST = _event(delta={}, finish_reason="stop") + COUNTS + b"data: [DONE]\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


SHORT = HEAD + _chunk(FIRST + TOKEN) + _chunk(LAST) + b"0\r\n\r\n"


class Peer(asyncio.Protocol):
    """Answers every question at once; one that says ``long`` in ``CHUNKS`` pieces, ``CHUNK_PAUSE`` seconds apart."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is here."""
        self._transport, self._buffer = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        """A request, or a part of it."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        at = head.lower().find(b"content-length:")
        if not found or len(body) < (int(head[at + 15 :].partition(b"\r\n")[0]) if at >= 0 else 0):
            return
        self._buffer = b""
        if b"long" in body:
            self._transport.write(HEAD + _chunk(FIRST))
            asyncio.get_running_loop().call_later(CHUNK_PAUSE, self._next, CHUNKS)
        elif head.startswith(b"POST"):
            self._transport.write(SHORT)
        else:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}")

    def _next(self, left: int) -> None:
        if left:
            self._transport.write(_chunk(TOKEN))
            asyncio.get_running_loop().call_later(CHUNK_PAUSE, self._next, left - 1)
        else:
            self._transport.write(_chunk(LAST) + b"0\r\n\r\n")


async def serve() -> None:
    """Listen, and print the port."""
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The requests


def configured(url: str, providers: int) -> str:
    """The file of a pool whose models all live at *url*, each on a machine of its own with a slot for each client."""
    sections = "".join(
        f'[groups.g{at}]\nslots = {AT_ONCE}\n[[providers]]\nname = "p{at}"\ndriver = "openai"\ngroup = "g{at}"\n'
        f'base_url = "{url}"\nmodel = "m{at}"\n'
        for at in range(providers)
    )
    return f"[trust]\nenabled = false\n{sections}"


async def asks(case: str, url: str) -> tuple[Callable[[str], Coroutine[Any, Any, Any]], Callable[[], Any]]:
    """A function that makes one request of *case*, and one that closes all."""
    if case.startswith("raw"):
        return _raw(case, url)
    from llm_pool.config import parse
    from llm_pool.core.messages import Query, StrategyName
    from llm_pool.engine.generations import PoolManager

    voting = case == "voting"
    pool = await PoolManager.start(parse(configured(url, 3 if voting else 1), Path("llm-pool.toml")))
    strategy = StrategyName.VOTING if voting else StrategyName.FASTEST

    async def infer(prompt: str) -> None:
        text = "the same" if case == "hit" else f"long {prompt}" if case == "stream" else prompt
        answer = await pool.infer(Query(prompt=text, strategy=strategy, deadline=60.0))
        assert "blue" in answer.content

    return infer, pool.aclose


def _raw(case: str, url: str) -> tuple[Callable[[str], Coroutine[Any, Any, Any]], Callable[[], Any]]:
    from llm_pool.providers.transport import Backend, Transport

    transport, backend = Transport(max_idle=AT_ONCE), Backend("raw", url)
    body = b'{"messages":[{"role":"user","content":"%b"}]}' % (b"long" if case == "raw_stream" else b"short")

    async def ask(_prompt: str) -> None:
        async with transport.stream(backend, "POST", "/v1/chat/completions", body) as response:
            while await response.piece() is not None:
                pass

    return ask, transport.aclose


# The measurements


async def cpu(case: str, url: str, requests: int) -> float:
    """Microseconds of CPU time for one request."""
    ask, close = await asks(case, url)
    numbers = iter(range(requests))

    async def client(numbers: Iterator[int], name: str) -> None:
        for number in numbers:
            await ask(f"{name} {number}")

    async def clients(numbers: Iterator[int], name: str) -> None:
        await asyncio.gather(*(client(numbers, name) for _ in range(AT_ONCE + (QUEUED if case == "queue" else 0))))

    await clients(iter(range(requests // 4)), "warm")
    gc.collect()
    gc.freeze()
    began = time.process_time()
    await clients(numbers, "measured")
    took = time.process_time() - began
    await close()
    return took / requests * 1e6


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts what it is asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = dict.fromkeys(("tasks", "timers", "call_soon", "futures", "calls", "c_calls"), 0)

    def create_task(self, *args: Any, **options: Any) -> Any:
        """As the loop does."""
        self.counts["tasks"] += 1
        return super().create_task(*args, **options)

    def call_at(self, *args: Any, **options: Any) -> Any:
        """As the loop does."""
        self.counts["timers"] += 1
        return super().call_at(*args, **options)

    def call_soon(self, *args: Any, **options: Any) -> Any:
        """As the loop does."""
        self.counts["call_soon"] += 1
        return super().call_soon(*args, **options)

    def create_future(self) -> Any:
        """As the loop does."""
        self.counts["futures"] += 1
        return super().create_future()


def counted(case: str, url: str, requests: int) -> dict[str, float]:
    """What one request asks of the interpreter and the loop, one after the other."""
    loop = CountingLoop()
    counts = loop.counts

    def note(_frame: Any, event: str, _argument: Any) -> None:
        if event == "call":
            counts["calls"] += 1
        elif event == "c_call":
            counts["c_calls"] += 1

    async def run() -> dict[str, float]:
        ask, close = await asks(case, url)
        for number in range(40):
            await ask(f"warm {number}")
        gc.collect()
        gc.disable()
        counts.update(dict.fromkeys(counts, 0))
        sys.setprofile(note)
        for number in range(requests):
            await ask(f"measured {number}")
        sys.setprofile(None)
        found = {name: round(count / requests, 1) for name, count in counts.items()}
        found["cyclic"] = round(gc.collect() / requests, 1)
        gc.enable()
        await close()
        return found

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(run())


def measure(case: str, url: str, requests: int) -> dict[str, float]:
    """All of one case in this process."""
    import uvloop

    requests = requests // 8 if "stream" in case else requests
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took = runner.run(cpu(case, url, requests))
    return {"us": took, **counted(case, url, 40 if "stream" in case else 200)}


def measured(tree: Path, case: str, url: str, requests: int) -> dict[str, float]:
    """The same of the checkout in *tree*, in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--case", case, "--url", url, "--requests", str(requests)]
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "PYTHONPATH": str(tree), "HOME": home, "XDG_STATE_HOME": home}
        done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(trees: dict[str, Path], found: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """The medians of each case, tree by tree."""
    lines = ["case        tree      us  (min..max)     tasks timers soon futures  calls c_calls cyclic"]
    for case in found[next(iter(trees))]:
        for name in trees:
            rounds = found[name][case]
            us = sorted(each["us"] for each in rounds)
            last = rounds[-1]
            lines.append(
                f"{case:11} {name:6} {statistics.median(us):7.1f} ({us[0]:.0f}..{us[-1]:.0f})".ljust(42)
                + f"{last['tasks']:6.1f} {last['timers']:6.1f} {last['call_soon']:5.1f} {last['futures']:6.1f}"
                f" {last['calls']:7.1f} {last['c_calls']:7.1f} {last['cyclic']:6.1f}"
            )
    for name in trees:
        us = {case: statistics.median(each["us"] for each in rounds) for case, rounds in found[name].items()}
        lines.append(f"{name}: {', '.join(_ratios(us))}")
    return "\n".join(lines)


def _ratios(us: dict[str, float]) -> Iterator[str]:
    if {"infer", "queue"} <= us.keys():
        yield f"{QUEUED} waiting: {us['queue'] / us['infer']:.2f} times none waiting"
    if {"infer", "voting"} <= us.keys():
        yield f"VOTING of three {us['voting'] / us['infer']:.2f} times FASTEST of one"
    if {"infer", "stream", "raw", "raw_stream"} <= us.keys():
        ours, raw = us["stream"] - us["infer"], us["raw_stream"] - us["raw"]
        yield f"a chunk {ours / CHUNKS:.1f} us, {(ours - raw) / CHUNKS:.1f} over the raw client"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--against", type=Path, metavar="TREE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--export", type=Path, metavar="FILE")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import uvloop

        uvloop.run(serve())
    elif options.case:
        print(json.dumps(measure(options.case, options.url, options.requests)))
    else:
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    trees = {"ours": ROOT} | ({"theirs": options.against.resolve()} if options.against else {})
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {case: [] for case in options.cases} for name in trees}
    serving = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(serving, stdout=subprocess.PIPE, text=True) as upstream:  # noqa: S603  # ourselves
        try:
            assert upstream.stdout is not None
            url = f"http://127.0.0.1:{upstream.stdout.readline().strip()}"
            for _ in range(options.rounds):
                for case in options.cases:
                    for name, tree in trees.items():
                        found[name][case].append(measured(tree, case, url, options.requests))
        finally:
            upstream.kill()
    print(table(trees, found))
    if options.export:
        machine = {"python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
        options.export.write_text(json.dumps({**machine, "rounds": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

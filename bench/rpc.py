"""
What gRPC's Infer costs our daemon, beside a server of grpc.aio that gives every request back as it came.

::

    python -m bench.rpc [--write]     # half a minute; --quick takes a third of it

The client is a process of its own, with sixteen calls at once over one channel; nginx is the upstream. CPU is what the
kernel counts of the server's process. Exit 1 if the bound is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.load.daemon import providers, serving
from bench.load.figures import Spread, Verdict, keep, load_average, page, table_of
from bench.load.nginx import MODEL, PIECES, nginx
from bench.load.processes import cpu_of, free_port, running, until
from bench.load.questions import MAX_TOKENS, PROMPT, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

METHOD = "/llmpool.v1.LLMPool/Infer"
AT_ONCE = 16
ECHO, MISS, HIT = "an echo of grpc.aio", "Infer, FASTEST, one provider", "Infer, a cache hit"


def main() -> int:
    """Measure, print, perhaps keep; the exit code. Or be the server or the client of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=3000, help="in each round")
    parser.add_argument("--quick", action="store_true", help="one round of a thousand")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--echo", metavar="ADDR", help=argparse.SUPPRESS)
    parser.add_argument("--ask", metavar="ADDR", help=argparse.SUPPRESS)
    parser.add_argument("--run", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.echo:
        asyncio.run(echo(options.echo))
        return 0
    if options.ask:
        asyncio.run(ask(options.ask, options.requests, options.run))
        return 0
    rounds, requests = (1, 1000) if options.quick else (options.rounds, options.requests)
    load = load_average()
    found = measured(rounds, requests)
    verdict = Verdict(f"{MISS}, times {ECHO}", over_echo(found, MISS), 2.0, 1.5)
    rows = [f"| {name} | {Spread.of(cpu).told()} | {over_echo(found, name):.2f} |" for name, cpu in found.items()]
    made = f"{AT_ONCE} calls at once over one channel; {rounds} rounds of {requests} calls."
    costs = ["| | CPU us a call | x echo |", "|---|---:|---:|", *rows]
    text = page(
        "What a call costs over gRPC", "python -m bench.rpc --write", load, [table_of([verdict]), [made], costs]
    )
    print(text)
    if options.write:
        keep("rpc.md", text)
    return int(verdict.is_broken)


def over_echo(found: dict[str, list[float]], name: str) -> float:
    """How many times an echo *name* costs: the median of the rounds' ratios."""
    return median(ours / bare for ours, bare in zip(found[name], found[ECHO], strict=True))


def measured(rounds: int, requests: int) -> dict[str, list[float]]:
    """Microseconds of CPU for each call, round by round."""
    found: dict[str, list[float]] = {ECHO: [], MISS: [], HIT: []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        upstream = stack.enter_context(nginx(Path(folder) / "nginx")).urls[0]
        daemon = stack.enter_context(serving(Path(folder) / "daemon", providers([upstream], MODEL)))
        address, log = f"127.0.0.1:{free_port()}", Path(folder) / "echo.log"
        server = stack.enter_context(running([sys.executable, "-m", "bench.rpc", "--echo", address], log=log))
        until(lambda: "ready" in log.read_text("utf-8"), server, log, within=20)
        subjects = {ECHO: (address, server.pid), MISS: (daemon.grpc, daemon.pid), HIT: (daemon.grpc, daemon.pid)}
        for number in range(-1, rounds):  # the first one only warms up
            for name, (addr, pid) in subjects.items():
                before = cpu_of(pid)
                options = ["--ask", addr, "--requests", str(requests), "--run", "" if name == HIT else f"{number} "]
                subprocess.run([sys.executable, "-m", "bench.rpc", *options], check=True)  # noqa: S603  # this module
                if number >= 0:
                    found[name].append((cpu_of(pid) - before) / requests * 1e6)
    return found


async def echo(address: str) -> None:
    """Give back what comes, until the process is ended."""
    import grpc

    async def same(body: bytes, _context: Any) -> bytes:
        return body

    class Everything(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(same)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Everything(),))
    server.add_insecure_port(address)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


async def ask(address: str, requests: int, run: str) -> None:
    """Call so often; no two calls are equal, unless *run* is empty: then all are. Raises where one fails."""
    import grpc

    from llm_pool.wire import llmpool_pb2 as pb

    def question(number: int) -> bytes:
        prompt = PROMPT.replace("@", f"{run}{number}" if run else "of today")
        turns = [pb.Turn(role="system", text=SYSTEM)]
        query = pb.Query(prompt=prompt, turns=turns, max_tokens=MAX_TOKENS, temperature=0, deadline_ms=60_000)
        return bytes(query.SerializeToString())

    async with grpc.aio.insecure_channel(address) as channel:
        call: Callable[[bytes], Any] = channel.unary_unary(METHOD)
        left = iter(range(requests))

        async def one_after_the_other() -> None:
            for number in left:
                said = await call(question(number))
                if said != question(number) and pb.Answer.FromString(said).content != "".join(PIECES):
                    raise RuntimeError(f"an answer of other words: {said!r}")

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    sys.exit(main())

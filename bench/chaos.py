"""
A daemon under mixed faults for minutes: does it keep its deadlines, its memory, its descriptors and every request?

    python -m bench.chaos [--minutes 10] [--rate 25] [--export bench/results/chaos.md]

Processes of their own: the scripted upstream, redis-server where it is installed, ``llm-pool serve`` with a resolver
that hangs for one name and 256 file descriptors, its embedded engine, and this one, which asks for three tenants.
Every 15 s something else goes wrong upstream; every 20 s the configuration is rewritten, every other time with a
mistake in it; Redis is frozen, then killed, then there again; every 30 s the wall clock jumps by an hour, ahead or
back, and the embedded engine is killed; now and then 150 connections are held idle. Requests come at a steady rate
whatever happens to the ones before (open loop). One in ten leaves before its answer; one in twenty is malformed; one
in ten is sent twice at once under one id.

A request is lost when it gets no whole reply: no status, a body cut short, a stream without its last event. It is late
by what its reply comes after its deadline, as this process sees it, and duplicated when its two answers differ.
The clock that jumps is the daemon's own ``time.time``: setting the system's would take root. What is kept by time
(answers by id, the cache) is kept for a minute here, so that memory has met its bound when the measuring begins.

Promise R19: memory grows less than 1 MB a minute after warm-up, descriptors and tasks stay flat, no request is lost or
answered twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_pool.testing.processes import upstream_process

if TYPE_CHECKING:
    from collections.abc import Coroutine

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
FAULTS = (
    "ok",
    "error:500",
    "error:503",
    "slow:4",
    "trickle:1",
    "hang",
    "cut:2",
    "reset:1",
    "flaky:0.3",
    "busy:1",
    "garbage",
    "stall:2",
)
CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
[qos]
max_deadline_ms = 2000
hedge_after_ms = {hedge}
[breaker]
open_cooldown_ms = 3000
max_cooldown_ms = 6000
[cache]
ttl_seconds = 60
max_bytes = 1000000
{redis}
[idempotency]
ttl_seconds = 60
[telemetry]
recent = 200
[groups."{url}"]
slots = 32
[[providers]]
name = "unresolved"
driver = "ollama"
model = "phi3:mini"
base_url = "http://slow.invalid:9"
[[providers]]
name = "pocket-a"
driver = "llamacpp"
model = "pocket-a"
prompt_variant = "pocket"
tasks = ["enrich_metadata"]
[tenancy.anna]
api_key = "lpsk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
scopes = ["infer", "observe", "operate"]
[tenancy.berta]
api_key = "lpsk_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
[tenancy.clara]
api_key = "lpsk_cccccccccccccccccccccccccccccccc"
"""
DAEMON = """
import itertools, resource, signal, socket, time
clock, ahead, jumps = time.time, 0.0, itertools.cycle((3600.0, -3600.0, 0.0))
time.time = lambda: clock() + ahead
def jump(*_):
    global ahead
    ahead = next(jumps)
signal.signal(signal.SIGUSR1, jump)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
real = socket.getaddrinfo
def getaddrinfo(host, *args, **kwargs):
    if host == "slow.invalid":
        time.sleep(20)
    return real(host, *args, **kwargs)
socket.getaddrinfo = getaddrinfo
from llm_pool.__main__ import main
main()
"""
KEYS = tuple("lpsk_" + letter * 32 for letter in "abc")
WARM_UP = 0.25
"""Share of the run that memory may take to settle."""
EXPECTED = frozenset({200, 400, 409, 422, 429, 502, 503, 504})
"""Statuses that are an answer, or say honestly why there is none."""
ENGINE_EVERY = 50
"""One request in so many is for a task that the embedded engine is asked too."""
SAMPLE_EVERY = 5.0
REPLY_TIME = 15.0
ALLOWED_SLOPE = 1.0
"""MB a minute."""


class Sample(NamedTuple):
    """The daemon at one moment; *at* in seconds since the start, *rss* in MB."""

    at: float
    rss: float
    fds: int
    tasks: int


class Chaos:
    """One run."""

    def __init__(self, rate: float, seconds: float, folder: Path) -> None:
        self.rate, self.seconds, self.folder = rate, seconds, folder
        self.config = folder / "llm-pool.toml"
        self.log = folder / "serve.log"
        self.outcomes: Counter[str] = Counter()
        self.lost: list[str] = []
        self.waits: list[float] = []
        self.late: list[float] = []
        self.stalls: list[float] = []
        self.own_stalls: list[float] = [0.0]
        self.pairs = 0
        self.duplicated: list[str] = []
        self.samples: list[Sample] = []
        self.reloads = self.jumps = self.kills = 0
        self._rng = random.Random(4)
        self._port = self._pid = 0

    async def run(self) -> None:
        """Start everything, ask, stop."""
        models = [word for model in MODELS for word in ("--model", model)]
        async with upstream_process(
            *models, "--ttft", "lognormal:-3,0.6", "--per-token", "const:0.002"
        ) as self.upstream:
            self.redis = await Redis.start(self.folder)
            self.write_config(mistake=False)
            with self.log.open("wb") as log:
                daemon = await asyncio.create_subprocess_exec(
                    sys.executable, "-c", DAEMON, "serve", "--config", str(self.config), "--json",
                    stderr=log, env={**os.environ, "LLM_POOL_STATE": str(self.folder / "state")},
                )  # fmt: skip
            self._pid = daemon.pid
            try:
                await self.serving()
                await self.load()
            finally:
                daemon.send_signal(signal.SIGTERM)
                self.exit_status = await daemon.wait()
                await self.redis.kill()

    async def serving(self) -> None:
        """Wait for the line that names the address."""
        async with asyncio.timeout(20):
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())):  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.1)
        self._port = int(found[1])

    async def load(self) -> None:
        """Requests, faults, reloads and samples, side by side; then a look at what is left."""
        self.began = time.monotonic()
        beside = [asyncio.create_task(work) for work in self.troubles()]
        asking: set[asyncio.Task[None]] = set()
        number = 0
        while (now := time.monotonic() - self.began) < self.seconds:
            task = asyncio.create_task(self.ask(number))
            asking.add(task)
            task.add_done_callback(asking.discard)
            number += 1
            for done in [task for task in beside if task.done()]:
                done.result()  # raises: what breaks and looks goes on to the end
            await asyncio.sleep(max(0.0, number / self.rate - now))
        for task in beside:
            task.cancel()
        await asyncio.gather(*asking, *beside, return_exceptions=True)
        self.sent = number
        await self.script("*", "ok")
        await asyncio.sleep(5)
        self.end = await self.look()
        self.metrics = (await self.reply("GET", "/metrics"))[1].decode()

    def troubles(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on beside the requests."""
        return [
            self.inject_faults(),
            self.reload(),
            self.sample(),
            self.watch(),
            self.watch_ourselves(),
            self.hold(),
            self.jump_and_kill(),
            self.redis.trouble(),
        ]

    async def watch(self) -> None:
        """How long liveness takes, again and again: the event loop's stalls."""
        while True:
            began = time.monotonic()
            await self.reply("GET", "/livez")
            self.stalls.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    async def watch_ourselves(self) -> None:
        """How late this process is for its own naps: what it measures is late by as much, whoever kept it."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            self.own_stalls.append(time.monotonic() - began - 0.01)

    async def hold(self) -> None:
        """Idle connections, more than the daemon has descriptors for beside its requests."""
        while True:
            await asyncio.sleep(25)
            held = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(150)]
            for _, writer in held:
                writer.write(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await asyncio.sleep(3)
            for _, writer in held:
                writer.close()

    async def jump_and_kill(self) -> None:
        """The wall clock jumps, and the embedded engine dies."""
        while True:
            await asyncio.sleep(30)
            os.kill(self._pid, signal.SIGUSR1)
            self.jumps += 1
            for engine in engines(self._pid):
                os.kill(engine, signal.SIGKILL)
                self.kills += 1

    async def ask_twice(self, number: int) -> None:
        """One request, sent twice at once: one run, one answer."""
        body = {"prompt": f"twice {number}", "request_id": f"twice-{number}", "no_cache": True, "deadline_ms": 1500}
        key = KEYS[number % 3]
        try:
            async with asyncio.timeout(REPLY_TIME):
                both = await asyncio.gather(*(self.reply("POST", "/v1/infer", body, key) for _ in range(2)))
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.note("lost", f"{type(error).__name__}: {error}", lost=True)
            return
        self.pairs += 1
        answers = {json.loads(said).get("content") for status, said in both if status == 200}
        self.note(f"twice {both[0][0]}", "", lost=False)
        if len(answers) > 1:
            self.duplicated.append(f"twice-{number}")

    async def ask(self, number: int) -> None:
        """One request of the mix."""
        if number % 10 == 0:
            await self.ask_twice(number)
            return
        rng = self._rng
        body: dict[str, Any] = {"prompt": f"question {rng.randrange(500)}", "project_id": f"p{number % 5}"}
        body["strategy"] = rng.choice(["FASTEST", "FASTEST", "VOTING", "WEIGHTED", "CONSENSUS", "JUDGE"])
        body["deadline_ms"] = rng.choice([500, 1000, 2000])
        body["no_cache"] = rng.random() < 0.5
        body["stream"] = rng.random() < 0.3
        if number % ENGINE_EVERY == 1:
            body |= {"task": "enrich_metadata", "strategy": "VOTING", "deadline_ms": 2000, "stream": False}
        if rng.random() < 0.05:
            body = rng.choice([{"prompt": ""}, {"task": "nonsense", "prompt": "x"}, {"promt": "x"}, {"prompt": 3}])
        deadline = body.get("deadline_ms", 2000) / 1000
        leaves = rng.random() * 0.3 if rng.random() < 0.1 else None
        began = time.monotonic()
        try:
            async with asyncio.timeout(leaves or REPLY_TIME):
                status, said = await self.reply("POST", "/v1/infer", body, KEYS[number % 3])
        except TimeoutError:
            self.note("left" if leaves else "lost", "no reply", leaves is None)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.note("lost", f"{type(error).__name__}: {error}", lost=True)
        else:
            self.waits.append(time.monotonic() - began)
            self.late.append(max(0.0, self.waits[-1] - deadline))
            is_cut = bool(body.get("stream")) and status == 200 and b'"final":true' not in said[-20_000:]
            why = "a stream without its end" if is_cut else f"status {status}"
            self.note(str(status), why, is_cut or status not in EXPECTED)

    def note(self, outcome: str, why: str, lost: bool) -> None:
        """Count an outcome; remember what was lost."""
        self.outcomes[outcome] += 1
        if lost:
            self.lost.append(f"{time.monotonic() - self.began:.1f} s: {why}")

    async def reply(self, method: str, path: str, body: Any = None, key: str = KEYS[0]) -> tuple[int, bytes]:
        """The status and the whole body; raises ValueError for a reply that is cut short."""
        data = b"" if body is None else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            lines = (
                f"{method} {path} HTTP/1.1",
                "Host: 127.0.0.1",
                "Connection: close",
                f"Authorization: Bearer {key}",
                f"Content-Length: {len(data)}",
            )
            writer.write("\r\n".join([*lines, "", ""]).encode() + data)
            head, said = (await reader.readuntil(b"\r\n\r\n")).decode().lower(), await reader.read()
        finally:
            writer.close()
        if "transfer-encoding: chunked" in head and not said.endswith(b"0\r\n\r\n"):
            raise ValueError("a body without its end")
        if (told := re.search(r"content-length: (\d+)", head)) and int(told[1]) != len(said):
            raise ValueError("a body cut short")
        return int(head.split()[1]), said

    async def inject_faults(self) -> None:
        """Another fault for one model every 15 s; the others are well."""
        while True:
            await self.script("*", "ok")
            await self.script(self._rng.choice(MODELS), self._rng.choice(FAULTS))
            await asyncio.sleep(15)

    async def script(self, model: str, mode: str) -> None:
        """Tell the upstream how to treat a model."""
        host, port = self.upstream.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        data = json.dumps({"model": model, "modes": [mode]}).encode()
        head = f"POST /_upstream/script HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        said = await reader.readuntil(b"\r\n")
        writer.close()
        assert b" 200 " in said, said

    async def reload(self) -> None:
        """Rewrite the configuration every 20 s."""
        while True:
            await asyncio.sleep(20)
            self.reloads += 1
            self.write_config(mistake=self.reloads % 2 == 0)

    def write_config(self, *, mistake: bool) -> None:
        """As an editor saves: written beside, then moved over."""
        text = CONFIG.format(url=self.upstream, hedge=200 + self.reloads, redis=self.redis.toml)
        for model in MODELS:
            name = model.partition(":")[0]
            text += (
                f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nmodel = "{model}"\nbase_url = "{self.upstream}"\n'
            )
        beside = self.config.with_suffix(".new")
        beside.write_text(text.replace("hedge_after_ms", "hedge_afer_ms") if mistake else text)
        beside.replace(self.config)

    async def sample(self) -> None:
        """Look every few seconds, as the status page and Prometheus do."""
        while True:
            self.samples.append(await self.look())
            await self.reply("GET", "/v1/status")
            await asyncio.sleep(SAMPLE_EVERY)

    async def look(self) -> Sample:
        """The daemon now."""
        said = (await self.reply("GET", "/metrics"))[1].decode()
        tasks = re.search(r"^llmpool_asyncio_tasks (\S+)", said, re.MULTILINE)
        if tasks is None:
            raise RuntimeError(f"/metrics said {said[:500]!r}; the log ends with {self.log.read_text()[-3000:]}")
        return Sample(time.monotonic() - self.began, *proc(self._pid), int(float(tasks[1])))

    @property
    def settled(self) -> list[Sample]:
        """The samples after warm-up."""
        return [sample for sample in self.samples if sample.at >= WARM_UP * self.seconds]


class Redis:
    """A redis-server of its own, where one is installed; frozen, killed and started again in turn."""

    def __init__(self, command: str | None, folder: Path) -> None:
        self._command, self._folder = command, folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process: asyncio.subprocess.Process | None = None

    @classmethod
    async def start(cls, folder: Path) -> Redis:
        """One that listens soon."""
        redis = cls(shutil.which("redis-server"), folder)
        await redis.up()
        return redis

    @property
    def toml(self) -> str:
        """Of the section ``cache``."""
        return f'driver = "redis"\nurl = "redis://127.0.0.1:{self._port}/0"' if self._command else ""

    async def up(self) -> None:
        """Start it."""
        if self._command is not None:
            words = ("--port", str(self._port), "--save", "", "--dir", str(self._folder))
            null = asyncio.subprocess.DEVNULL
            self._process = await asyncio.create_subprocess_exec(self._command, *words, stdout=null)

    async def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def trouble(self) -> None:
        """Well for 20 s, frozen for 5, well for 20, gone for 5."""
        while True:
            await asyncio.sleep(20)
            if self._process is None:
                continue
            self._process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(5)
            self._process.send_signal(signal.SIGCONT)
            await asyncio.sleep(20)
            await self.kill()
            await asyncio.sleep(5)
            await self.up()


def at(share: float, values: list[float]) -> float:
    """The value at *share* of sorted *values*, in milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))]


def proc(pid: int) -> tuple[float, int]:
    """Memory of a process in MB, and how many descriptors it has open."""
    place = Path(f"/proc/{pid}")
    pages = int((place / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list((place / "fd").iterdir()))


def engines(daemon: int) -> list[int]:
    """The processes of the daemon's embedded engine."""
    children = map(int, Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split())
    return [child for child in children if b"llamacpp" in Path(f"/proc/{child}/cmdline").read_bytes()]


def slope(samples: list[Sample]) -> float:
    """MB a minute, by least squares."""
    mean_at = sum(s.at for s in samples) / len(samples)
    mean_rss = sum(s.rss for s in samples) / len(samples)
    above = sum((s.at - mean_at) * (s.rss - mean_rss) for s in samples)
    return 60 * above / sum((s.at - mean_at) ** 2 for s in samples)


def verdict(chaos: Chaos) -> dict[str, bool]:
    """Each part of the promise, and whether it was kept."""
    log, first = chaos.log.read_text(), chaos.samples[0]
    return {
        f"memory grows less than {ALLOWED_SLOPE:g} MB a minute": slope(chaos.settled) < ALLOWED_SLOPE,
        "no request is lost": not chaos.lost,
        "no request is answered twice": not chaos.duplicated,
        "late by at most 20 ms at p99.9": at(0.999, chaos.late) <= 20,
        "late by at most 100 ms at p100": at(1, chaos.late) <= 100,
        "descriptors are back where they were": chaos.end.fds <= first.fds + 8,
        "tasks are back where they were": chaos.end.tasks <= first.tasks + 5,
        "no traceback, and no exception that nobody took": "raceback" not in log and "never retrieved" not in log,
        "the daemon left with status 0": chaos.exit_status == 0,
    }


def report(chaos: Chaos, command: str) -> str:
    """The figures as Markdown."""
    settled, waits = chaos.settled, sorted(chaos.waits)
    rss = [sample.rss for sample in settled]
    counted = sum(float(n) for n in re.findall(r"^llmpool_requests_total\S* (\S+)", chaos.metrics, re.MULTILINE))
    within = sum(float(n) for n in re.findall(r'_infer_duration_seconds_bucket{le="2.5"\S* (\S+)', chaos.metrics))
    reloads = dict(re.findall(r'^llmpool_reloads_total{result="(\w+)"} (\S+)', chaos.metrics, re.MULTILINE))
    opened = sum(float(n) for n in re.findall(r"^llmpool_breaker_open_total\S* (\S+)", chaos.metrics, re.MULTILINE))
    statuses = ", ".join(f"{count} {name}" for name, count in sorted(chaos.outcomes.items()))
    kept = [f"| {promise} | {'kept' if is_kept else '**broken**'} |" for promise, is_kept in verdict(chaos).items()]
    every, own = max(1, len(chaos.samples) // 12), at(1, chaos.own_stalls)
    rows = [f"| {s.at / 60:.1f} | {s.rss:.1f} | {s.fds} | {s.tasks} |" for s in [*chaos.samples[::every], chaos.end]]
    return "\n".join(
        [
            "# Chaos",
            "",
            f"`{command}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} vCPU, CPython {platform.python_version()}.",
            f"{chaos.seconds / 60:g} minutes at {chaos.rate:g} requests a second; `bench/chaos.py` says what breaks.",
            "",
            "| promise (R19) | |",
            "|---|---|",
            *kept,
            "",
            f"- requests sent: {chaos.sent}; replies: {statuses}; lost: {len(chaos.lost)}",
            f"- requests that the engine counted: {counted:.0f}, {counted - within:.0f} of them over 2.5 s",
            f"- late: p99.9 {at(0.999, chaos.late):.0f} ms, p100 {at(1, chaos.late):.0f} ms, seen from outside",
            f"- sent twice under one id: {chaos.pairs}; with two answers: {len(chaos.duplicated)}",
            f"- `/livez`: p99 {at(0.99, chaos.stalls):.0f} ms, longest {at(1, chaos.stalls):.0f} ms",
            f"- this process, late for its own naps: p99.9 {at(0.999, chaos.own_stalls):.0f} ms, longest {own:.0f} ms",
            f"- Redis: {'frozen and killed' if chaos.redis.toml else 'not installed'}",
            f"- jumps of the clock: {chaos.jumps}; embedded engines killed: {chaos.kills}",
            f"- breakers opened {opened:.0f} times",
            f"- configurations: {reloads.get('taken', '0')} taken, {reloads.get('refused', '0')} refused",
            f"- time to the whole reply: p50 {waits[len(waits) // 2]:.3f} s, p99 {waits[int(len(waits) * 0.99)]:.3f} s",
            f"- memory after warm-up: {min(rss):.1f} to {max(rss):.1f} MB, slope {slope(settled):+.3f} MB a minute",
            "",
            "| minute | RSS, MB | descriptors | tasks |",
            "|---|---|---|---|",
            *rows,
            "",
            "The last row is five seconds after the last request.",
            *(["", "Lost:", *chaos.lost[:20]] if chaos.lost else []),
            "",
        ]
    )


def main() -> int:
    """Run, print, and say by the exit status whether every promise was kept."""
    line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    line.add_argument("--minutes", type=float, default=10.0)
    line.add_argument("--rate", type=float, default=25.0, help="requests a second")
    line.add_argument("--export", type=Path, help="write the figures there too")
    args = line.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(args.rate, args.minutes * 60, Path(folder))
        asyncio.run(chaos.run())
        said = report(chaos, f"python -m bench.chaos --minutes {args.minutes:g} --rate {args.rate:g}")
        print(said)
        if args.export:
            args.export.write_text(said)
        kept = all(verdict(chaos).values())
        if not kept:
            print(chaos.log.read_text()[-3000:], file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

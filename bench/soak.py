"""
A daemon under mixed faults for minutes: does it keep its memory, its file descriptors and every request?

    python bench/soak.py [--minutes 10] [--rate 25] [--export bench/results/soak.md]

Three processes: the scripted upstream, ``llm-pool serve`` and this one, which asks. Every 15 s something else goes
wrong upstream; every 20 s the configuration is rewritten, every other time with a mistake in it. Requests come at a
steady rate whatever happens to the ones before (open loop). One in ten leaves before its answer; one in twenty is
malformed. A request is lost when it gets no whole reply: no status, a body cut short, a stream without its last event.

Promise R19: memory grows less than 1 MB a minute after warm-up, descriptors and tasks stay flat, no request is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from llm_pool.testing.processes import upstream_process

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
FAULTS = ("ok", "error:500", "slow:4", "hang", "cut:2", "reset:1", "flaky:0.3", "busy:1", "garbage", "stall:2")
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
[telemetry]
recent = 200
[groups."{url}"]
slots = 32
"""
WARM_UP = 0.25
"""Share of the run that memory may take to settle."""
EXPECTED = frozenset({200, 400, 422, 502, 503, 504})
"""Statuses that are an answer, or say honestly why there is none."""
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


class Soak:
    """One run."""

    def __init__(self, rate: float, seconds: float, folder: Path) -> None:
        self.rate, self.seconds, self.folder = rate, seconds, folder
        self.config = folder / "llm-pool.toml"
        self.log = folder / "serve.log"
        self.outcomes: Counter[str] = Counter()
        self.lost: list[str] = []
        self.waits: list[float] = []
        self.samples: list[Sample] = []
        self.reloads = 0
        self._rng = random.Random(4)
        self._port = self._pid = 0

    async def run(self) -> None:
        """Start everything, ask, stop."""
        models = [word for model in MODELS for word in ("--model", model)]
        async with upstream_process(
            *models, "--ttft", "lognormal:-3,0.6", "--per-token", "const:0.002"
        ) as self.upstream:
            self.write_config(mistake=False)
            with self.log.open("wb") as log:
                daemon = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "llm_pool", "serve", "--config", str(self.config), "--json",
                    stderr=log, env={**os.environ, "LLM_POOL_STATE": str(self.folder / "state")},
                )  # fmt: skip
            self._pid = daemon.pid
            try:
                await self.serving()
                await self.load()
            finally:
                daemon.send_signal(signal.SIGTERM)
                self.exit_status = await daemon.wait()

    async def serving(self) -> None:
        """Wait for the line that names the address."""
        async with asyncio.timeout(20):
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", self.log.read_text())):  # noqa: ASYNC110  # a file
                await asyncio.sleep(0.1)
        self._port = int(found[1])

    async def load(self) -> None:
        """Requests, faults, reloads and samples, side by side; then a look at what is left."""
        self.began = time.monotonic()
        beside = [asyncio.create_task(work) for work in (self.inject_faults(), self.reload(), self.sample())]
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

    async def ask(self, number: int) -> None:
        """One request of the mix."""
        rng = self._rng
        body: dict[str, Any] = {"prompt": f"question {rng.randrange(500)}", "project_id": f"p{number % 5}"}
        body["strategy"] = rng.choice(["FASTEST", "FASTEST", "VOTING", "WEIGHTED", "CONSENSUS", "JUDGE"])
        body["no_cache"] = rng.random() < 0.5
        body["stream"] = rng.random() < 0.3
        if rng.random() < 0.05:
            body = rng.choice([{"prompt": ""}, {"task": "nonsense", "prompt": "x"}, {"promt": "x"}, {"prompt": 3}])
        leaves = rng.random() * 0.3 if rng.random() < 0.1 else None
        began = time.monotonic()
        try:
            async with asyncio.timeout(leaves or REPLY_TIME):
                status, said = await self.reply("POST", "/v1/infer", body)
        except TimeoutError:
            self.note("left" if leaves else "lost", "no reply", leaves is None)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self.note("lost", f"{type(error).__name__}: {error}", lost=True)
        else:
            self.waits.append(time.monotonic() - began)
            is_cut = bool(body.get("stream")) and status == 200 and b'"final":true' not in said[-20_000:]
            why = "a stream without its end" if is_cut else f"status {status}"
            self.note(str(status), why, is_cut or status not in EXPECTED)

    def note(self, outcome: str, why: str, lost: bool) -> None:
        """Count an outcome; remember what was lost."""
        self.outcomes[outcome] += 1
        if lost:
            self.lost.append(f"{time.monotonic() - self.began:.1f} s: {why}")

    async def reply(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """The status and the whole body; raises ValueError for a reply that is cut short."""
        data = b"" if body is None else json.dumps(body).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            lines = (
                f"{method} {path} HTTP/1.1",
                "Host: 127.0.0.1",
                "Connection: close",
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
        text = CONFIG.format(url=self.upstream, hedge=200 + self.reloads)
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


def proc(pid: int) -> tuple[float, int]:
    """Memory of a process in MB, and how many descriptors it has open."""
    place = Path(f"/proc/{pid}")
    pages = int((place / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(list((place / "fd").iterdir()))


def slope(samples: list[Sample]) -> float:
    """MB a minute, by least squares."""
    mean_at = sum(s.at for s in samples) / len(samples)
    mean_rss = sum(s.rss for s in samples) / len(samples)
    above = sum((s.at - mean_at) * (s.rss - mean_rss) for s in samples)
    return 60 * above / sum((s.at - mean_at) ** 2 for s in samples)


def verdict(soak: Soak) -> dict[str, bool]:
    """Each part of the promise, and whether it was kept."""
    log, first = soak.log.read_text(), soak.samples[0]
    return {
        f"memory grows less than {ALLOWED_SLOPE:g} MB a minute": slope(soak.settled) < ALLOWED_SLOPE,
        "no request is lost": not soak.lost,
        "descriptors are back where they were": soak.end.fds <= first.fds + 8,
        "tasks are back where they were": soak.end.tasks <= first.tasks + 5,
        "no traceback, and no exception that nobody took": "raceback" not in log and "never retrieved" not in log,
        "the daemon left with status 0": soak.exit_status == 0,
    }


def report(soak: Soak, command: str) -> str:
    """The figures as Markdown."""
    settled, waits = soak.settled, sorted(soak.waits)
    rss = [sample.rss for sample in settled]
    counted = sum(float(n) for n in re.findall(r"^llmpool_requests_total\S* (\S+)", soak.metrics, re.MULTILINE))
    within = sum(float(n) for n in re.findall(r'_infer_duration_seconds_bucket{le="2.5"\S* (\S+)', soak.metrics))
    reloads = dict(re.findall(r'^llmpool_reloads_total{result="(\w+)"} (\S+)', soak.metrics, re.MULTILINE))
    opened = sum(float(n) for n in re.findall(r"^llmpool_breaker_open_total\S* (\S+)", soak.metrics, re.MULTILINE))
    statuses = ", ".join(f"{count} {name}" for name, count in sorted(soak.outcomes.items()))
    kept = [f"| {promise} | {'kept' if is_kept else '**broken**'} |" for promise, is_kept in verdict(soak).items()]
    every = max(1, len(soak.samples) // 12)
    rows = [f"| {s.at / 60:.1f} | {s.rss:.1f} | {s.fds} | {s.tasks} |" for s in [*soak.samples[::every], soak.end]]
    return "\n".join(
        [
            "# Soak with faults",
            "",
            f"`{command}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} vCPU, CPython {platform.python_version()}.",
            f"{soak.seconds / 60:g} minutes at {soak.rate:g} requests a second; what goes wrong is in `bench/soak.py`.",
            "",
            "| promise (R19) | |",
            "|---|---|",
            *kept,
            "",
            f"- requests sent: {soak.sent}; replies: {statuses}; lost: {len(soak.lost)}",
            f"- requests that the engine counted: {counted:.0f}, {counted - within:.0f} of them over 2.5 s",
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
            *(["", "Lost:", *soak.lost[:20]] if soak.lost else []),
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
        soak = Soak(args.rate, args.minutes * 60, Path(folder))
        asyncio.run(soak.run())
        said = report(soak, f"python bench/soak.py --minutes {args.minutes:g} --rate {args.rate:g}")
        print(said)
        if args.export:
            args.export.write_text(said)
        kept = all(verdict(soak).values())
        if not kept:
            print(soak.log.read_text()[-3000:], file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

"""A worker process from its parent's side: start, look at, stop. The other side is ``llamacpp_worker``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from typing import TYPE_CHECKING, Final, Self

from llm_pool.core.errors import Failed

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from pathlib import Path

    from llm_pool.core.messages import Json

LOAD_LIMIT: Final = 600.0  # seconds; 40 GB from a slow disk take five minutes
_MAX_LOG_BYTES: Final = 8192  # bytes
_EXIT_GRACE: Final = 0.5  # seconds a worker has to leave by itself


class Worker:
    """
    A process that serves one model.

    Attributes:
        url: of its OpenAI-shaped server, without a path.
        key: the api key it wants.
    """

    def __init__(self, process: Process) -> None:
        self.url = ""
        self.key = secrets.token_urlsafe(24)
        self._process = process
        self._log = bytearray()
        self._draining = asyncio.create_task(self._drain(), name="log of an embedded engine")

    @classmethod
    async def start(cls, name: str, model: Path, settings: dict[str, Json]) -> Self:
        """
        Start a process and wait until *model* is loaded.

        Args:
            name: of the provider, for errors.
            model: a GGUF file.
            settings: what ``llamacpp_worker`` takes, less the key.

        Raises:
            Failed: it could not be started, or could not load the model; says what the engine said last.
        """
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "llm_pool.providers.llamacpp_worker", str(model))
        try:
            process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise Failed(name, f"cannot start the embedded engine: {error}") from error
        worker = cls(process)
        try:
            async with asyncio.timeout(LOAD_LIMIT):
                reply = await worker._begin(settings)
        except TimeoutError:
            reply = {"error": f"not done after {LOAD_LIMIT:.0f} s"}
        except BaseException:
            await worker.stop(force=True)
            raise
        if "url" not in reply:
            await worker.stop()
            said = worker.last_error() or reply.get("error", "no reason given")
            raise Failed(name, f"the embedded engine cannot load {model}: {said}")
        worker.url = reply["url"]
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """The process has not ended, as far as we have been told."""
        return self._process.returncode is None

    @property
    def exit(self) -> str:
        """How the process ended, in words; empty while it lives."""
        code = self._process.returncode
        if code is None:
            return ""
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"

    def last_error(self) -> str:
        """The last error the engine logged, without its time stamp; empty if it logged none."""
        lines = [line for line in self._log.decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line.partition(" E ")[2] for line in lines if " E " in line]
        # The first of a run of errors is the cause, the others are its echo in outer layers.
        return (errors or lines or [""])[0].strip()

    async def ended(self, within: float) -> bool:
        """Whether the process ends in *within* seconds: the socket tells of a death before the system does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._process.wait()
        return not self.alive

    def kill(self) -> None:
        """End it at once, whatever it is doing; works on a stopped process too."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, *, force: bool = False) -> None:
        """Ask it to leave, kill it if it does not, and wait until it has gone. Idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if force or not await self.ended(_EXIT_GRACE):
            self.kill()
        await self._process.wait()
        await self._draining

    async def _begin(self, settings: dict[str, Json]) -> dict[str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(ConnectionError):  # it died already: the empty answer below tells
            self._process.stdin.write(json.dumps({**settings, "key": self.key}).encode() + b"\n")
            await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            return {"error": self.exit}
        reply: dict[str, str] = json.loads(line)
        return reply

    async def _drain(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            self._log += chunk
            del self._log[:-_MAX_LOG_BYTES]

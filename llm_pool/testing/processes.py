"""The scripted upstream as a process of its own, for tests that must not share an event loop or a GIL with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

START_TIMEOUT = 10.0  # seconds for a process to begin, and again to end


@asynccontextmanager
async def upstream_process(*args: str) -> AsyncIterator[str]:
    """
    The address of a scripted upstream started with *args*; stopped when left.

    Raises:
        RuntimeError: it did not start; what it wrote to stderr is above.
    """
    process = await asyncio.create_subprocess_exec(*_command(args), stdout=asyncio.subprocess.PIPE)
    stdout = process.stdout
    assert stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT):
            url = (await stdout.readline()).decode().strip()
        yield _started(url, args)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@contextmanager
def running_upstream(*args: str) -> Iterator[str]:
    """The same for code without an event loop."""
    with subprocess.Popen(_command(args), stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        try:
            yield _started(process.stdout.readline().strip(), args)
        finally:
            process.terminate()
            try:
                process.wait(START_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(args: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "llm_pool.testing.upstream", *args]


def _started(url: str, args: tuple[str, ...]) -> str:
    if not url:
        raise RuntimeError(f"the scripted upstream did not start with {args}")
    return url

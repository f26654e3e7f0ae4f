"""The scripted upstream and the daemon as processes of their own: tests share no event loop and no GIL with them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

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


@contextmanager
def running_daemon(config: Path) -> Iterator[dict[str, str]]:
    """
    The addresses of a daemon with the file *config*, by scheme: ``http`` and ``grpc``; stopped when left.

    Raises:
        RuntimeError: it did not start.
    """
    words = [sys.executable, "-m", "llm_pool", "serve", "--config", str(config)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stderr is not None
        urls: dict[str, str] = {}
        for line in process.stderr:
            urls |= {found[1]: found[0] for found in re.finditer(r"(http|grpc)://127\.0\.0\.1:\d+", line)}
            if len(urls) == 2:
                break
        else:
            raise RuntimeError(f"the daemon did not start with {config}")
        try:
            yield urls
        finally:
            process.terminate()
            try:
                process.communicate(timeout=START_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def _command(args: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "llm_pool.testing.upstream", *args]


def _started(url: str, args: tuple[str, ...]) -> str:
    if not url:
        raise RuntimeError(f"the scripted upstream did not start with {args}")
    return url

"""
How the workers of one daemon speak with each other: each listens on a Unix socket in a folder that is theirs alone.

A question is one line of JSON, ``[name, argument]``; the answer is JSON, and ends with the connection.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.server.worker import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from llm_pool.server.worker import Worker

    Handler = Callable[[Any], Awaitable[Any]]

ASK_TIMEOUT = 2.0
"""Seconds that a sibling has to answer; one that is being started again has nothing to say."""
MAX_QUESTION = 64 * 1024


class Siblings:
    """
    The other workers, as one of them sees them; without *worker* there are none.

    Attributes:
        index: of this worker among all.
        count: of all workers, this one included.
    """

    def __init__(self, worker: Worker | None = None) -> None:
        self.index, self.count = (0, 1) if worker is None else (worker.index, worker.count)
        self._folder = None if worker is None else Path(worker.folder)
        self._handlers: dict[str, Handler] = {}

    def public(self, number: int) -> int:
        """The number that clients know a request of this worker by: it says whose it is."""
        return number * self.count + self.index

    def private(self, number: int) -> tuple[int, int]:
        """The index of the worker whose request clients know as *number*, and its number there."""
        return number % self.count, number // self.count

    def answer(self, name: str, handler: Handler) -> None:
        """Answer the question *name* with what *handler* makes of its argument."""
        self._handlers[name] = handler

    async def ask(self, name: str, argument: Any = None) -> list[Any]:
        """The answers of all others to the question *name*; who says nothing in time is left out."""
        others = [index for index in range(self.count) if index != self.index]
        answers = await asyncio.gather(*(self.ask_one(index, name, argument) for index in others))
        return [answer for answer in answers if answer is not None]

    async def ask_one(self, index: int, name: str, argument: Any = None) -> Any:
        """The answer of worker *index*; None where it says nothing in time."""
        assert self._folder is not None
        try:
            async with asyncio.timeout(ASK_TIMEOUT):
                reader, writer = await asyncio.open_unix_connection(_socket(self._folder, index))
                try:
                    writer.write(msgspec.json.encode([name, argument]) + b"\n")
                    answer = await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None
        return msgspec.json.decode(answer) if answer else None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Answer the others while the block runs."""
        if self._folder is None:
            yield
            return
        path = _socket(self._folder, self.index)
        await asyncio.to_thread(path.unlink, missing_ok=True)  # of one that died in our place
        server = await asyncio.start_unix_server(self._serve, path, limit=MAX_QUESTION)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            name, argument = msgspec.json.decode(await reader.readline())
            if (handler := self._handlers.get(name)) is not None:  # the pool may not have begun
                writer.write(msgspec.json.encode(await handler(argument)))
                await writer.drain()
        finally:
            writer.close()


def first_number(wall: float) -> int:
    """The lowest number that a record has which is made now, at *wall* Unix seconds, by whichever worker."""
    return int(wall * 1000) * MAX_WORKERS


def record_numbers(wall: Callable[[], float], index: int) -> Iterator[int]:
    """Numbers of records: unique among all workers, and in the order of time, to a thousandth of a second."""
    last = 0
    while True:
        last = max(first_number(wall()) + index, last + MAX_WORKERS)
        yield last


def _socket(folder: Path, index: int) -> Path:
    return folder / f"{index}.sock"

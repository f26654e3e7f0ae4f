"""One request being answered: its speech, and what a mode does to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llm_pool.testing.upstream.ollama import BUSY

if TYPE_CHECKING:
    from llm_pool.testing.upstream.generation import Dialect, Generation
    from llm_pool.testing.upstream.http import Connection, Headers, Request
    from llm_pool.testing.upstream.journal import Entry
    from llm_pool.testing.upstream.modes import Mode

GARBAGE = b'\x00\xfe{"model": <<this is not what you asked for>>\n'
BREAKS = frozenset({"cut", "reset", "stall", "error-in-stream"})


class Exchange:
    """A request, the connection it came by, the dialect it is answered in, and its line in the journal."""

    def __init__(self, request: Request, connection: Connection, dialect: Dialect, entry: Entry) -> None:
        self.request, self.connection, self.dialect, self.entry = request, connection, dialect, entry

    def send(self, status: int, body: bytes, *, headers: Headers | None = None, more: Headers = ()) -> None:
        """A whole response; the dialect's headers unless others are given."""
        plain = self.dialect.whole_headers if status < 400 else self.dialect.error_headers
        self.entry.status, self.entry.ending = status, "answered" if status < 400 else "refused"
        self.connection.send(status, [*(plain if headers is None else headers), *more], body)

    def send_chunked(self, body: bytes) -> None:
        """A whole response, framed as Go frames the longer ones."""
        self.entry.status, self.entry.ending = 200, "answered"
        self.connection.begin(200, self.dialect.whole_headers)
        self.connection.chunk(body)
        self.connection.finish()

    def refuse(self, status: int, message: str, *, more: Headers = ()) -> None:
        """An error in the dialect's words."""
        self.send(status, self.dialect.error(status, message), more=more)

    async def apply_fault(self, mode: Mode) -> bool:
        """What *mode* does before anybody thinks about an answer; True if that was all."""
        if mode.name == "error":
            self.refuse(int(mode.value), "scripted error")
        elif mode.name == "busy":
            self.refuse(503, BUSY, more=[("Retry-After", f"{mode.value:g}")])
        elif mode.name == "garbage":
            self.send(200, GARBAGE, headers=self.dialect.stream_headers)
            self.entry.ending = "broken"
        elif mode.name == "reset" and not mode.value:
            self._reset()
        elif mode.name == "hang":
            await _for_ever()
        else:
            return False
        return True

    async def respond(self, generation: Generation, mode: Mode, *, asked: float) -> None:
        """Say *generation* from now on, as far as *mode* lets it; *asked* is when the request came."""
        began = _now()
        await _until(began + generation.ttft)
        limit = min(int(mode.value), len(generation.tokens)) if mode.name in BREAKS else None
        if generation.text_request.stream:
            await self._stream(generation, mode, limit, asked)
        else:
            await _until(began + generation.ttft + generation.tokens[-1].at)
            generation.total = _now() - asked
            await self._whole(generation, mode)

    async def _stream(self, generation: Generation, mode: Mode, limit: int | None, asked: float) -> None:
        connection, entry, started = self.connection, self.entry, _now()
        entry.status, entry.first_byte = 200, started
        connection.begin(200, self.dialect.stream_headers)
        opening = self.dialect.opening()
        if opening:
            connection.chunk(opening)
        for token in generation.tokens[:limit]:
            await _until(started + token.at)
            line = self.dialect.piece(token)
            if not line:
                continue
            half = len(line) // 2 if mode.name == "trickle" else 0
            if half:
                connection.chunk(line[:half])
                await asyncio.sleep(0.2 / mode.value)
            connection.chunk(line[half:])
            entry.pieces += 1
        if limit is not None:
            await self._break_off(mode, generation)
            return
        generation.total = _now() - asked
        connection.chunk(self.dialect.ending(generation))
        connection.finish()
        entry.ending = "answered"

    async def _break_off(self, mode: Mode, generation: Generation) -> None:
        self.entry.ending = "broken"
        if mode.name == "cut":
            first, *_ = self.dialect.ending(generation).splitlines(keepends=True)
            self.connection.cut(first)  # half a line: a whole one would be a proper end
        elif mode.name == "reset":
            self._reset()
        elif mode.name == "error-in-stream":
            self.connection.chunk(self.dialect.error_piece("scripted error in the stream"))
            self.connection.finish()
        else:
            await _for_ever()

    async def _whole(self, generation: Generation, mode: Mode) -> None:
        body = self.dialect.whole(generation)
        if mode.name == "error-in-stream":
            self.refuse(500, "scripted error")
        elif mode.name == "stall":
            await _for_ever()
        elif mode.name == "reset":
            self._reset()
        elif mode.name == "cut":
            self.entry.status, self.entry.ending = 200, "broken"
            self.connection.send(200, self.dialect.whole_headers, body[: len(body) // 2], promised=len(body))
            self.connection.close()
        else:
            self.send(200, body)
            self.entry.first_byte = _now()
            self.entry.pieces = 1

    def _reset(self) -> None:
        self.entry.ending = "broken"
        self.connection.reset()


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _until(instant: float) -> None:
    await asyncio.sleep(max(0.0, instant - _now()))


async def _for_ever() -> None:
    await asyncio.Event().wait()

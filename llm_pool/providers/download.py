"""
One large file over HTTP, resumed where an earlier try stopped.

The bytes grow in *part*; beside it ``<part>.json`` remembers the validator they came under (RFC 9110, 13.1.5):
without one, or when the server's file has changed, the download starts again. Redirects are followed by hand,
because Hugging Face announces the checksum on the redirect and not on the file.
"""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import msgspec

from llm_pool.core.errors import BadReply, Failed, ProviderError, Unreachable
from llm_pool.core.messages import PullProgress
from llm_pool.providers.replies import error_for
from llm_pool.providers.transport import Backend, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from llm_pool.providers.transport import Response

_WRITE_SIZE: Final = 1 << 20  # bytes written at once, and told of
_IDLE_TIMEOUT: Final = 60.0  # seconds without a byte
_REDIRECTS: Final = 5
_SHA256: Final = re.compile(r'(?:W/)?"?([0-9a-f]{64})"?')
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+)")


class _PartInfo(msgspec.Struct, frozen=True):
    """What we know of the bytes in *part*: where they came from, under which validator, how many there are in all."""

    url: str = ""
    validator: str = ""
    total: int | None = None
    sha256: str = ""


class Download:
    """
    The bytes of *url* on their way to *part*.

    Args:
        name: how errors call us.
        url: http or https.
        part: a file in a folder that exists.
    """

    def __init__(self, name: str, url: str, part: Path) -> None:
        self.part = part
        self._name, self._url = name, url
        self._info_path = part.with_name(f"{part.name}.json")
        self._info = _PartInfo()

    @property
    def sha256(self) -> str:
        """The checksum that the server announced for the whole file; empty if it announced none."""
        return self._info.sha256

    def discard(self) -> None:
        """Delete what is there: it is wrong, or of no use any more."""
        self.part.unlink(missing_ok=True)
        self._info_path.unlink(missing_ok=True)

    async def run(self) -> AsyncGenerator[PullProgress]:
        """
        Fetch what is missing.

        Raises:
            ProviderError: no connection, a refusal, a cut; a later ``run`` goes on from there.
            OSError: the disk refused.
        """
        done = await asyncio.to_thread(self._resume)
        if self._info.total is not None and done == self._info.total:
            return
        async with AsyncExitStack() as stack:
            transport = await stack.enter_async_context(aclosing(Transport()))
            response = await self._follow(transport, stack, done)
            if done and response.status == 200:  # the file has changed, or this server does not resume
                await asyncio.to_thread(self.discard)
                done = 0
            await asyncio.to_thread(self._prepare, response, done)
            async with aclosing(self._receive(response, done)) as progress:
                async for step in progress:
                    yield step

    async def _follow(self, transport: Transport, stack: AsyncExitStack, done: int) -> Response:
        """The response that has the bytes from *done* on, or all of them."""
        url, asked = self._url, {"Range": f"bytes={done}-", "If-Range": self._info.validator} if done else {}
        for _ in range(_REDIRECTS):
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"}:
                raise Failed(self._name, f"{self._url} redirects to {url}, which is no web address")
            backend = Backend(self._name, f"{parts.scheme}://{parts.netloc}", headers=asked)
            path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            response = await stack.enter_async_context(transport.stream(backend, "GET", path))
            self._learn(response.headers)
            if response.status in {301, 302, 303, 307, 308} and "location" in response.headers:
                url = urljoin(url, response.headers["location"])
            elif response.status in {200, 206}:
                return response
            else:
                raise await self._refused(backend, response)
        raise Failed(self._name, f"{self._url} redirects more than {_REDIRECTS} times")

    async def _refused(self, backend: Backend, response: Response) -> ProviderError:
        if response.status == 416:  # what we have is longer than what there is
            await asyncio.to_thread(self.discard)
            return Failed(self._name, f"{self._url} is not the file it was", hint="pull again to start afresh")
        error = error_for(backend, await response.read())
        hints = {401: "it asks for a login: fetch the file with a browser and put it into the model folder", 404: ""}
        hints[403] = hints[401]
        return type(error)(
            self._name,
            f"{self._url}: {error.reason}",
            hint=hints.get(response.status, "pull again later; it goes on from here"),
            retry_after=error.retry_after,
        )

    def _learn(self, headers: dict[str, str]) -> None:
        """Remember the checksum, if this answer announces one. Only Hugging Face's headers are known to be one."""
        if match := _SHA256.fullmatch(headers.get("x-linked-etag", "")):
            self._info = msgspec.structs.replace(self._info, sha256=match[1])

    def _resume(self) -> int:
        """How many bytes of this file are there already, and can be trusted."""
        try:
            info = msgspec.json.decode(self._info_path.read_bytes(), type=_PartInfo)
            done = self.part.stat().st_size
        except (OSError, msgspec.DecodeError):
            info, done = _PartInfo(), 0
        if info.url != self._url or not info.validator or (info.total is not None and done > info.total):
            self.discard()
            return 0
        self._info = info
        return done

    def _prepare(self, response: Response, done: int) -> None:
        """Check that *response* continues what we have, that there is room, and remember what it is part of."""
        headers = response.headers
        length = headers.get("content-length", "")
        total = done + int(length) if length.isdecimal() else None
        if done:
            match = _RANGE.fullmatch(headers.get("content-range", ""))
            if match is None or int(match[1]) != done:
                self.discard()
                raise BadReply(self._name, f"{self._url} sent another part than asked for", hint="pull again")
            total = int(match[2])
        if total is not None and total - done > shutil.disk_usage(self.part.parent).free:
            raise OSError(errno.ENOSPC, f"no room for the {total - done} bytes that are missing")
        etag = headers.get("etag", "")
        validator = etag if etag.startswith('"') else headers.get("last-modified", "")  # a weak tag does not resume
        self._info = _PartInfo(self._url, validator, total, self._info.sha256)
        self._info_path.write_bytes(msgspec.json.encode(self._info))
        self.part.touch()

    async def _receive(self, response: Response, done: int) -> AsyncGenerator[PullProgress]:
        buffer = bytearray()
        yield PullProgress("pulling", done, self._info.total)
        try:
            async with aclosing(self._pieces(response)) as pieces:
                async for piece in pieces:
                    buffer += piece
                    if len(buffer) >= _WRITE_SIZE:
                        await self._append(buffer)
                        done += len(buffer)
                        buffer = bytearray()
                        yield PullProgress("pulling", done, self._info.total)
        finally:  # cut or cancelled: what came is kept
            await self._append(buffer)
        done += len(buffer)
        yield PullProgress("pulling", done, self._info.total)
        if done != (self._info.total or done) or done != await asyncio.to_thread(self._size):
            await asyncio.to_thread(self.discard)  # somebody else writes here too, or the server cannot count
            raise Failed(self._name, f"{self._url}: got {done} of {self._info.total} bytes", hint="pull again")

    async def _pieces(self, response: Response) -> AsyncGenerator[bytes]:
        try:
            while True:
                async with asyncio.timeout(_IDLE_TIMEOUT):
                    piece = await response.piece()
                if piece is None:
                    return
                yield piece
        except (Failed, TimeoutError) as error:
            reason = error.reason if isinstance(error, Failed) else f"no byte for {_IDLE_TIMEOUT:.0f} s"
            raise Unreachable(self._name, f"{self._url}: {reason}", hint="pull again to go on from here") from error

    def _size(self) -> int:
        return self.part.stat().st_size

    async def _append(self, data: bytearray) -> None:
        def append() -> None:
            with self.part.open("ab") as file:
                file.write(data)

        await asyncio.to_thread(append)

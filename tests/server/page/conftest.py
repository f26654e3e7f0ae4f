"""Headless Chromium, spoken to over a pipe by the DevTools protocol; tests that need it are skipped without it."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
PATIENCE = 20.0


class Page:
    """A tab; *errors* collects what its console complained of, and uncaught exceptions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._session = reader, writer, ""
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []
        self.requested: list[str] = []
        self._listening = asyncio.create_task(self._listen())

    async def open(self, url: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Load *url* in a new tab."""
        target = (await self.send("Target.createTarget", url="about:blank"))["targetId"]
        self._session = (await self.send("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Page.navigate", url=url)
        await self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    async def run(self, script: str) -> Any:
        """The value of *script*, awaited if it is a promise."""
        said = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until *script* gives something true, and return it; True for an element."""
        script = f"(found => found instanceof Node || found)({script})"
        async with asyncio.timeout(PATIENCE):
            while not (value := await self.run(script)):  # noqa: ASYNC110  # the page has no event of ours
                await asyncio.sleep(0.05)
        return value

    async def press(self, key: str) -> None:
        """Press *key*, as its ``KeyboardEvent.key`` calls it."""
        code = {"Tab": 9, "Enter": 13, "ArrowDown": 40}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        await self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def text(self, selector: str) -> str:
        """The text that a person sees in the first *selector*."""
        return str(await self.run(f"document.querySelector({selector!r}).innerText"))

    async def shot(self) -> bytes:
        """A picture of the whole page, as PNG."""
        size = (await self.send("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        said = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(said["data"])

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser says to a command."""
        number = len(self._replies)
        self._replies[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        self._writer.write(msgspec.json.encode(command) + b"\0")
        async with asyncio.timeout(PATIENCE):
            reply = await self._replies[number]
        assert "error" not in reply, (method, reply)
        result: dict[str, Any] = reply["result"]
        return result

    async def _listen(self) -> None:
        while True:
            said = msgspec.json.decode((await self._reader.readuntil(b"\0"))[:-1])
            if "id" in said:
                self._replies[said["id"]].set_result(said)
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(said["params"]["exceptionDetails"]))
            elif said["method"] == "Network.requestWillBeSent":
                self.requested.append(said["params"]["request"]["url"])

    async def close(self) -> None:
        """Close the browser."""
        self._writer.write(b'{"id": -1, "method": "Browser.close"}\0')
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[Page]:
    """A browser of its own, with an empty tab. Raises FileNotFoundError without Chromium."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("chromium")
    (read_commands, write_commands), (read_replies, write_replies) = os.pipe(), os.pipe()
    # The protocol is on descriptors 3 and 4, which a shell puts in place.
    pipes = f'exec "$@" 3<&{read_commands} 4>&{write_replies}'
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", pipes, "chromium", program, *FLAGS, f"--user-data-dir={profile}",
        pass_fds=(read_commands, write_replies), stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    os.close(read_commands)
    os.close(write_replies)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_replies, "rb")
    )
    writing, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(write_commands, "wb"))
    page = Page(reader, asyncio.StreamWriter(writing, protocol, None, loop))
    try:
        yield page
    finally:
        await page.close()
        with suppress(TimeoutError, ProcessLookupError):
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        reading.close()
        writing.close()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """A browser. Needs ``real_loop``."""
    try:
        async with chromium(tmp_path / "profile") as opened:
            yield opened
    except FileNotFoundError:
        pytest.skip("Chromium is not installed")

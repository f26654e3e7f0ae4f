"""A real Redis server of the tests' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class RedisServer:
    """``redis-server`` on a port of its own, with a password, that keeps nothing on disk."""

    password = "s3cret-of-the-tests"

    def __init__(self, binary: str, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", self.password, "--save", ""]
        self._process = subprocess.Popen(
            [self._binary, *options, "--dir", str(self._folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(500):
            if self._answers():
                return self
            time.sleep(0.01)
        raise AssertionError("redis-server does not start")

    def stop(self) -> None:
        """End it; what it held is gone."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its sockets stay open, and nothing comes back."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> bytes:
        """The raw reply to one command, over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as link:
            link.sendall(f"AUTH {self.password}\r\n{' '.join(words)}\r\n".encode())
            reply = b""
            while reply.count(b"\r\n") < 2:
                reply += link.recv(4096)
        return reply.removeprefix(b"+OK\r\n")

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == b"+PONG\r\n"
        except OSError:
            return False


@pytest.fixture(scope="session")
def _redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    pytest.importorskip("redis")
    beside_python = str(Path(sys.executable).parent)  # the dev extra brings one
    binary = shutil.which("redis-server", path=os.pathsep.join([beside_python, os.environ.get("PATH", "")]))
    if binary is None:
        pytest.skip("no redis-server on this machine (Debian: apt install redis-server)")
    server = RedisServer(binary, tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis_process: RedisServer) -> RedisServer:
    """A running, empty one."""
    _redis_process.ask("FLUSHALL")
    return _redis_process

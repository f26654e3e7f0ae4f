"""A scripted upstream in a process of its own, a configuration for it, and the command line as a process."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from llm_pool.testing.processes import running_upstream

MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
NOBODY = "http://127.0.0.1:1"
"""Where nobody listens."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Configure = Callable[..., Path]


@pytest.fixture(scope="session")
def upstream() -> Iterator[str]:
    """The address of an upstream that answers at once."""
    with running_upstream(*(word for model in MODELS for word in ("--model", model)), "--ttft", "const:0.01") as url:
        yield url


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes a configuration of one Ollama provider per model, all at one address; every command finds it."""

    def write(url: str, *models: str, more: str = "") -> Path:
        text = f"[trust]\nenabled = false\n[tasks.ask]\ndeadline_ms = 20000\n{more}"
        for model in models or MODELS:
            name = model.partition(":")[0].replace(".", "")
            text += f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nbase_url = "{url}"\nmodel = "{model}"\n'
        path = tmp_path / "llm-pool.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("LLM_POOL_CONFIG", str(path))
        return path

    return write


@pytest.fixture
def config(upstream: str, configure: Configure) -> Path:
    """A configuration for *upstream*, which every command here finds."""
    return configure(upstream)


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LLM_POOL_CONFIG", "NO_COLOR", "FORCE_COLOR", "LLM_POOL_NO_COLOR", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("LLM_POOL_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def command() -> list[str]:
    """The words that begin a command line."""
    return [sys.executable, "-m", "llm_pool"]


@pytest.fixture
def llm_pool(command: list[str]) -> Run:
    """Runs ``llm-pool`` with words and, perhaps, *stdin*; by default stdin is empty."""

    def run(*words: str, stdin: str | bytes = b"", **variables: str) -> subprocess.CompletedProcess[str]:
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        env = os.environ | variables
        done = subprocess.run([*command, *words], input=sent, capture_output=True, timeout=30, check=False, env=env)
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


class Terminal:
    """
    A command under a terminal of its own; *screen* is all it wrote there, stdout and stderr together.

    With *out* a pipe, stdout is that and only stderr is the terminal.
    """

    def __init__(self, words: list[str], *, pipe_out: bool = False, **variables: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
        self.process = subprocess.Popen(
            words,
            stdin=slave,
            stdout=subprocess.PIPE if pipe_out else slave,
            stderr=slave,
            env=os.environ | variables,
            start_new_session=True,
        )
        os.close(slave)
        self.screen = ""

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        """Read until *text* is on the screen."""
        until = time.monotonic() + seconds
        while text not in self.screen:
            if not self._read(until - time.monotonic()):
                raise AssertionError(f"'{text}' never came; the screen: {self.screen!r}")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self, seconds: float = 10.0) -> int:
        """Read to the end; the exit code."""
        until = time.monotonic() + seconds
        while self._read(until - time.monotonic()):
            pass
        os.close(self._master)
        return self.process.wait(seconds)

    def shown(self) -> list[str]:
        """The lines that a person sees in the end."""
        screen = pyte.Screen(90, 30)
        pyte.Stream(screen).feed(self.screen)
        return [line.rstrip() for line in screen.display if line.strip()]

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other side is closed
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal(command: list[str]) -> Iterator[Callable[..., Terminal]]:
    """Starts ``llm-pool`` with words under a terminal."""
    started: list[Terminal] = []

    def start(*words: str, pipe_out: bool = False, **variables: str) -> Terminal:
        started.append(Terminal([*command, *words], pipe_out=pipe_out, **variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        if one.process.stdout is not None:
            one.process.stdout.close()

"""
The parent of several workers: it starts them, starts dead ones again, and passes signals on.

::

    bind HTTP, reserve gRPC ─▶ start N workers ─▶ all are ready ─▶ wait
        a worker dies ─▶ another with its index, after a pause that doubles as long as they die soon
        SIGHUP        ─▶ to every worker
        SIGTERM, ^C   ─▶ to every worker, once more for the second; who still lives after the grace is killed

It has neither an event loop nor threads, and imports nothing that has: a worker is a program of its own that inherits
the listening socket of HTTP. gRPC's library opens its own sockets, so there the kernel divides (``SO_REUSEPORT``).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec

from llm_pool.server.sockets import address_of, bind_socket, reserve
from llm_pool.server.worker import VARIABLE, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llm_pool.config import Config

READY = b"ready"
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds until a dead worker is followed by another: doubled each time, up to the second."""
PROVEN_AFTER = 30.0
"""Seconds after which a worker counts as one that runs: the next pause is the first one again."""
KILL_MARGIN = 5.0
"""Seconds beyond the grace that workers have to close what they hold."""


class Supervisor:
    """
    Runs the workers of one daemon.

    Args:
        words: the command line of a worker, which hears from the environment that it is one.
        count: how many.
        grace: seconds that requests in flight get at the end.
        say: tells a person.
    """

    def __init__(self, words: Sequence[str], count: int, grace: float, say: Callable[[str], None]) -> None:
        self._words, self._count, self._grace, self._say = words, count, grace, say
        self._living: dict[int, _Process] = {}
        self._pauses = [FIRST_PAUSE] * count
        self._due: dict[int, float] = {}
        self._asked: list[int] = []
        self._kill_at: float | None = None
        self._announced = False

    def run(self, config: Config, serving: Callable[[list[str]], None]) -> int:
        """
        Serve *config* until told to stop; *serving* is called with the URLs once all workers are ready.

        Returns:
            0, or what a worker ended with that could not begin.

        Raises:
            ConfigError: an address is taken.
        """
        with self._sockets(config) as make, _wakeups(self._heard) as wakeup:
            for index in range(self._count):
                self._start(index, make)
            while self._living or self._due:
                self._wait(wakeup)
                if (code := self._reap()) is not None:
                    return code
                self._pass_on()
                for index in [index for index, at in self._due.items() if time.monotonic() >= at]:
                    del self._due[index]
                    self._start(index, make)
                if not self._announced and self._count == sum(each.is_ready for each in self._living.values()):
                    self._announced = True
                    serving(_urls(config, make(0)))
        return 0

    @contextlib.contextmanager
    def _sockets(self, config: Config) -> Iterator[Callable[[int], Worker]]:
        """Hold the addresses; gives what makes the worker of an index, without its lifeline."""
        server = config.server
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-pool-"))  # nobody else may enter it
            http = grpc = None
            if server.enable_http:
                http = stack.enter_context(bind_socket(server.http_addr, "server.http_addr"))
            if server.enable_grpc:
                grpc = stack.enter_context(reserve(server.grpc_addr, "server.grpc_addr"))

            def make(index: int) -> Worker:
                return Worker(
                    index=index,
                    count=self._count,
                    http_fd=None if http is None else http.fileno(),
                    http_addr=server.http_addr if http is None else address_of(http),
                    grpc_addr=server.grpc_addr if grpc is None else address_of(grpc),
                    lifeline_fd=-1,
                    folder=folder,
                )

            yield make

    def _start(self, index: int, make: Callable[[int], Worker]) -> None:
        self._living[index] = _Process(self._words, make(index))

    def _wait(self, wakeup: socket.socket) -> None:
        """Until a signal came, a worker said something or ended, or something is due."""
        lifelines = {each.lifeline: each for each in self._living.values() if not each.is_heard}
        dues = [*self._due.values(), *([] if self._kill_at is None else [self._kill_at])]
        timeout = max(0.0, min(dues) - time.monotonic()) if dues else None
        ready, _, _ = select.select([wakeup, *lifelines], [], [], timeout)
        for each in ready:
            if each is wakeup:
                wakeup.recv(4096)
            else:
                lifelines[each].hear()

    def _reap(self) -> int | None:
        """Take leave of the dead, and say when others follow; the exit code where that is of no use."""
        now = time.monotonic()
        for index, process in list(self._living.items()):
            code = process.ended()
            if code is None:
                continue
            del self._living[index]
            if self._kill_at is not None:
                continue
            if not self._announced and not process.is_ready:  # the next would not begin either
                self._end_all()
                return code if code > 0 else 1
            if now - process.began > PROVEN_AFTER:
                self._pauses[index] = FIRST_PAUSE
            self._say(f"worker {index} ended with {code}; another follows in {self._pauses[index]:g} s")
            self._due[index] = now + self._pauses[index]
            self._pauses[index] = min(2 * self._pauses[index], LONGEST_PAUSE)
        return None

    def _pass_on(self) -> None:
        """What signals asked for."""
        asked, self._asked = self._asked, []
        for number in asked:
            if number == signal.SIGHUP:
                self._signal(signal.SIGHUP)
                continue
            if self._kill_at is None:
                self._say(f"stopping within {self._grace:g} s; once more stops at once")
                self._kill_at = time.monotonic() + self._grace + KILL_MARGIN
                self._due.clear()
            self._signal(signal.SIGTERM)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)

    def _heard(self, number: int) -> None:
        if number != signal.SIGCHLD:
            self._asked.append(number)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._living.values():
            process.signal(number)

    def _end_all(self) -> None:
        self._signal(signal.SIGTERM)
        for process in self._living.values():
            process.wait(self._grace + KILL_MARGIN)


class _Process:
    """A worker's process, and our end of its lifeline."""

    def __init__(self, words: Sequence[str], worker: Worker) -> None:
        self.began = time.monotonic()
        self.is_ready = self.is_heard = False
        self.lifeline, theirs = socket.socketpair()
        with theirs:
            inherited = [theirs.fileno(), *([] if worker.http_fd is None else [worker.http_fd])]
            told = msgspec.structs.replace(worker, lifeline_fd=theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603  # ourselves
                words,
                env={**os.environ, VARIABLE: told.as_text()},
                pass_fds=inherited,
                process_group=0,  # a ^C of the terminal comes to us alone, and we pass it on
            )

    def hear(self) -> None:
        """What the worker says on its lifeline: that it is ready, or nothing more."""
        self.is_ready = self.lifeline.recv(64) == READY
        self.is_heard = True

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        code = self._process.poll()
        if code is not None:
            self.lifeline.close()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Wait for its end, and make it one."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _wakeups(heard: Callable[[int], None]) -> Iterator[socket.socket]:
    """A socket that can be read after each signal that concerns us; *heard* is told of it first."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, lambda number, _frame: heard(number)) for number in numbers}
    previous = signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
    try:
        yield near
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        near.close()
        far.close()


def _urls(config: Config, worker: Worker) -> list[str]:
    """Where the workers listen."""
    secure = "s" if config.server.tls_cert else ""
    http = [f"http{secure}://{worker.http_addr}"] if config.server.enable_http else []
    return [*http, *([f"grpc{secure}://{worker.grpc_addr}"] if config.server.enable_grpc else [])]


def worker_command() -> list[str]:
    """The command line of this process, for one that does the same."""
    return [sys.executable, "-m", "llm_pool", *sys.argv[1:]]

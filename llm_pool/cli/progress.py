"""How far things are, and what is waited for: drawn by rich on a terminal, a line elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from llm_pool.cli.console import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from rich.progress import Task
    from rich.status import Status

    from llm_pool.cli.console import Console


class Progress:
    """
    Progress of one thing with a known or unknown end.

    Args:
        console: its stderr is drawn on.
        label: what is going on, e.g. ``pulling phi3:mini``.
        unit: formats an amount, e.g. ``1.2 GB``.
    """

    def __init__(self, console: Console, label: str, *, unit: Callable[[float], str] = "{:.0f}".format) -> None:
        self._console, self._label, self._unit = console, label, unit
        self._began = False

    def __enter__(self) -> Self:
        if not self._console.is_live:
            self._console.say(f"{self._label} …")
            return self
        from rich.progress import BarColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.progress import TextColumn as Words

        from llm_pool.cli.drawing import live_console

        self._bars = Bars(
            Words("{task.description}", markup=False),
            BarColumn(bar_width=20),
            Words("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            Words("{task.fields[note]}", markup=False),
            console=live_console(self._console),
            transient=True,
        )
        self._task = self._bars.add_task(escaped(self._label), total=None, amount="", note="")
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_live:
            self._bars.stop()

    def update(self, done: float, total: float | None = None) -> None:
        """*done* of *total* so far; *total* None while nobody knows. What was there at the first call is no speed."""
        if not self._console.is_live:
            return
        if not self._began:
            self._began = True
            self._bars.reset(self._task, total=total, completed=int(done))
        self._bars.update(self._task, completed=done, total=total, note="", amount=self._amount(done, total))

    def note(self, text: str) -> None:
        """What goes on while there is nothing to count."""
        if self._console.is_live:
            self._bars.update(self._task, note=text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take it away while the block prints on the same terminal."""
        if not (self._console.is_live and self._console.stdout.isatty()):
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def _amount(self, done: float, total: float | None) -> str:
        task: Task = self._bars.tasks[0]
        amount = self._unit(done) if total is None else f"{self._unit(done)} of {self._unit(total)}"
        return f"{amount}  {self._unit(task.speed)}/s" if task.speed and task.speed >= 1 else amount


class StatusLine:
    """One line on stderr that says what is waited for; nothing is imported before there is something to say."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def show(self, text: str) -> None:
        """Say *text* in the place of what was said before."""
        from llm_pool.cli.drawing import live_console
        from llm_pool.cli.drawing import text as words

        if self._status is None:
            from rich.status import Status

            self._status = Status(words(text), console=live_console(self._console))
            self._status.start()
        self._status.update(words(text))

    def clear(self) -> None:
        """Take it away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def format_duration(seconds: float) -> str:
    """A time span for a person: ``8 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def amount(size: float) -> str:
    """A number of bytes for a person, in the units that model pages use: ``4.7 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

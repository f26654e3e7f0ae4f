"""The tasks of one pool, each read once, when it is first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from llm_pool.tasks.files import judging_task, load_task, task_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from llm_pool.core.messages import Task

P = ParamSpec("P")
T = TypeVar("T")


class TaskRegistry:
    """
    Tasks by name.

    Args:
        folders: as for ``load_task``.
        files: as for ``load_task``.
    """

    def __init__(self, folders: Sequence[Path], files: Mapping[str, Path]) -> None:
        self._folders, self._files = tuple(folders), dict(files)
        self._tasks: dict[str, Task] = {}
        self._judging: Task | None = None

    async def task(self, name: str) -> Task:
        """The task *name*, read off the event loop; raises as ``load_task``."""
        if name not in self._tasks:
            self._tasks[name] = await _in_thread(load_task, name, self._folders, self._files)
        return self._tasks[name]

    async def judging(self) -> Task:
        """The task behind a judge's verdict; raises as ``judging_task``."""
        if self._judging is None:
            self._judging = await _in_thread(judging_task, self._folders)
        return self._judging

    async def all_tasks(self) -> list[Task]:
        """All tasks in alphabetical order, read if they were not; raises ConfigError where a prompt file is wrong."""
        names = await _in_thread(task_names, self._folders, self._files)
        return [await self.task(name) for name in names]

    def loaded_task(self, name: str) -> Task:
        """The task *name*, which was asked for before; raises KeyError if it was not."""
        return self._tasks[name]


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    import asyncio  # here, as completions list tasks too and pay for every import

    return await asyncio.to_thread(work, *args, **kwargs)

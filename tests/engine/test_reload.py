"""A changed file is taken up however it was changed; a bad one changes nothing."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import load
from llm_pool.engine import reload
from llm_pool.engine.reload import Reloader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.core.errors import ConfigError

    Watch = Callable[[Path], Awaitable[Reloader]]

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

LOOK = 0.02
GOOD = """
[qos]
max_tokens_default = {}
[[providers]]
name = "p"
driver = "ollama"
model = "m"
base_url = "http://127.0.0.1:9"
"""


class Taken:
    """What was taken and refused, in order."""

    def __init__(self) -> None:
        self.configs: list[Config] = []
        self.errors: list[ConfigError] = []
        self.changed = asyncio.Event()

    @property
    def latest(self) -> int:
        return self.configs[-1].qos.max_tokens_default

    async def apply(self, config: Config) -> None:
        self.configs.append(config)
        self.changed.set()

    def reject(self, error: ConfigError) -> None:
        self.errors.append(error)
        self.changed.set()

    async def change(self) -> None:
        """Wait for the next one."""
        async with asyncio.timeout(5):
            await self.changed.wait()
        self.changed.clear()


@pytest.fixture
async def taken() -> Taken:
    return Taken()


@pytest.fixture
async def watching(taken: Taken) -> AsyncIterator[Watch]:
    """Watches a file until the test ends."""
    tasks: list[asyncio.Task[None]] = []

    async def watch(path: Path) -> Reloader:
        reloader = Reloader(await asyncio.to_thread(load, path), lambda: load(path), taken.apply, taken.reject)
        tasks.append(asyncio.create_task(reloader.watch(LOOK)))
        return reloader

    yield watch
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def write(path: Path, tokens: int) -> Path:
    path.write_text(GOOD.format(tokens), encoding="utf-8")
    return path


async def test_a_file_that_is_written_again_is_read_again(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """In place, as a shell does it."""
    await watching(write(tmp_path / "llm-pool.toml", 1))
    await asyncio.sleep(3 * LOOK)

    write(tmp_path / "llm-pool.toml", 2)
    await taken.change()

    assert taken.latest == 2


async def test_an_editors_rename_is_seen(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """A new file takes the old one's name."""
    path = write(tmp_path / "llm-pool.toml", 1)
    await watching(path)
    await asyncio.sleep(3 * LOOK)

    write(tmp_path / ".llm-pool.toml.swp", 2).replace(path)
    await taken.change()

    assert taken.latest == 2


async def test_kubernetes_links_are_seen(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """llm-pool.toml leads to ..data/llm-pool.toml, and ..data is what changes."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        write(tmp_path / f"..{number}" / "llm-pool.toml", number)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "llm-pool.toml").symlink_to("..data/llm-pool.toml")
    await watching(tmp_path / "llm-pool.toml")
    await asyncio.sleep(3 * LOOK)

    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    await taken.change()

    assert taken.latest == 2


async def test_a_file_that_is_being_written_is_not_read_half(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """Half of it would be valid, and mean something else."""
    path = write(tmp_path / "llm-pool.toml", 1)
    await watching(path)
    await asyncio.sleep(3 * LOOK)
    more = GOOD.format(2) + GOOD.partition("[[")[1] + GOOD.partition("[[")[2].replace('"p"', '"q"')

    with path.open("w", encoding="utf-8", buffering=1) as file:
        for line in more.splitlines(keepends=True):
            file.write(line)
            os.utime(path)
            await asyncio.sleep(LOOK / 2)
    await taken.change()

    assert [len(config.providers) for config in taken.configs] == [2]
    assert not taken.errors


async def test_a_missing_file_is_waited_for(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """Quietly."""
    path = write(tmp_path / "llm-pool.toml", 1)
    await watching(path)
    await asyncio.sleep(3 * LOOK)

    path.unlink()
    await asyncio.sleep(5 * LOOK)
    assert not taken.errors
    write(path, 2)
    await taken.change()

    assert taken.latest == 2


async def test_a_mistake_is_refused_with_line_and_key_and_the_next_good_one_taken(
    tmp_path: Path, taken: Taken, watching: Watch
) -> None:
    """Once, however long it stands there."""
    path = write(tmp_path / "llm-pool.toml", 1)
    await watching(path)
    await asyncio.sleep(3 * LOOK)

    path.write_text(GOOD.format('"many"'), encoding="utf-8")
    await taken.change()
    await asyncio.sleep(5 * LOOK)
    write(path, 2)
    await taken.change()

    assert [(error.line, error.key) for error in taken.errors] == [(3, "qos.max_tokens_default")]
    assert [config.qos.max_tokens_default for config in taken.configs] == [2]


async def test_a_changed_prompt_is_taken_up(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """Prompts belong to the configuration."""
    await watching(write(tmp_path / "llm-pool.toml", 1))
    await asyncio.sleep(3 * LOOK)

    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "mine.md").write_text("Say {{input}}", encoding="utf-8")
    await taken.change()

    assert len(taken.configs) == 1


async def test_a_file_that_stays_as_it_is_is_left_alone(tmp_path: Path, taken: Taken, watching: Watch) -> None:
    """Until somebody asks."""
    reloader = await watching(write(tmp_path / "llm-pool.toml", 1))
    await asyncio.sleep(5 * LOOK)
    assert not taken.configs

    assert await reloader.reload() is True

    assert taken.latest == 1


async def test_a_file_beside_it_that_grows_does_not_keep_it_looking(
    tmp_path: Path, taken: Taken, watching: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon's own log may stand in the folder: each look reads folders, and is not for nothing all the time."""
    looks: list[float] = []
    look = reload.signature

    def counted(config: Config) -> reload.FileSignature:
        looks.append(0.0)
        return look(config)

    monkeypatch.setattr(reload, "signature", counted)
    config = tmp_path / "llm-pool.toml"
    await asyncio.to_thread(config.write_text, GOOD.format(1), encoding="utf-8")
    loaded = await asyncio.to_thread(load, config)
    watch = asyncio.create_task(Reloader(loaded, lambda: loaded, taken.apply, taken.reject).watch(interval=0.5))
    await asyncio.sleep(0.3)
    for n in range(30):
        await asyncio.to_thread((tmp_path / "serve.log").write_text, "x" * n, encoding="utf-8")
        await asyncio.sleep(0.05)
    watch.cancel()
    await asyncio.wait([watch])

    assert len(looks) <= 7  # 1.8 s, at most two looks in each half


async def test_a_bug_while_taking_leaves_the_watch_alive(tmp_path: Path, taken: Taken) -> None:
    """The pool that serves goes on, and so does the watch."""
    path = write(tmp_path / "llm-pool.toml", 1)

    async def broken(_: Config) -> None:
        raise ZeroDivisionError

    config = await asyncio.to_thread(load, path)
    assert await Reloader(config, lambda: load(path), broken, taken.reject).reload() is False


async def test_whatever_reading_raises_is_told_and_the_watch_lives(tmp_path: Path, taken: Taken) -> None:
    """A mistake that no check foresaw shows in /health as any other does; the next good file is taken."""
    path = write(tmp_path / "llm-pool.toml", 1)
    config, broken = await asyncio.to_thread(load, path), True

    def read() -> Config:
        if broken:
            raise MemoryError("of some kind")
        return load(path)

    reloader = Reloader(config, read, taken.apply, taken.reject)

    assert not await reloader.reload()
    broken = False
    assert await reloader.reload()

    assert "MemoryError while reading it" in taken.errors[0].got
    assert taken.latest == 1


async def test_an_unreadable_folder_is_waited_for(
    tmp_path: Path, taken: Taken, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that is away for three seconds ends nothing."""
    path = write(tmp_path / "llm-pool.toml", 1)
    config = await asyncio.to_thread(load, path)
    reloader = Reloader(config, lambda: load(path), taken.apply, taken.reject)
    watch = asyncio.create_task(reloader.watch(LOOK))
    await asyncio.sleep(3 * LOOK)

    def away(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.is_file", away)
        await asyncio.sleep(5 * LOOK)
    assert not watch.done()

    write(path, 2)
    await taken.change()
    watch.cancel()
    assert taken.latest == 2

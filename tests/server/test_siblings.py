"""Workers that speak with each other."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.server.siblings import Siblings, first_number, record_numbers
from llm_pool.server.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


def sibling(folder: Path, index: int, count: int = 3) -> Siblings:
    return Siblings(Worker(index, count, None, "", "", -1, str(folder)))


async def test_all_others_are_asked_at_once(tmp_path: Path) -> None:
    """One that is not there, or knows no answer, is left out; nobody asks itself."""

    async def double(number: Any) -> Any:
        return {"from": number * 2}

    async with AsyncExitStack() as stack:
        first, second, third = (sibling(tmp_path, index) for index in range(3))
        for each in (first, second):
            await stack.enter_async_context(each.opened())
        second.answer("double", double)

        assert await first.ask("double", 21) == [{"from": 42}]
        assert await second.ask("double", 21) == []
        assert await third.ask("double", 1) == [{"from": 2}]
        assert await first.ask_one(1, "double", 4) == {"from": 8}
        assert await first.ask_one(2, "double", 4) is None


async def test_one_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a status may take."""
    monkeypatch.setattr("llm_pool.server.siblings.ASK_TIMEOUT", 0.2)

    async def never(_: Any) -> Any:
        await asyncio.sleep(1)

    slow, asking = sibling(tmp_path, 0, 2), sibling(tmp_path, 1, 2)
    slow.answer("anything", never)
    async with slow.opened():
        assert await asking.ask("anything") == []


async def test_who_takes_the_place_of_a_dead_one_answers_there(tmp_path: Path) -> None:
    """Although its socket is still in the folder."""
    (tmp_path / "0.sock").touch()
    new, asking = sibling(tmp_path, 0, 2), sibling(tmp_path, 1, 2)

    async def yes(_: Any) -> Any:
        return True

    new.answer("alive", yes)
    async with new.opened():
        assert await asking.ask("alive") == [True]


async def test_alone_there_is_nobody_to_ask() -> None:
    """And numbers are what they are."""
    alone = Siblings()

    async with alone.opened():
        assert await alone.ask("anything") == []
    assert alone.public(17) == 17
    assert alone.private(17) == (0, 17)


def test_a_number_says_whose_request_it_is(tmp_path: Path) -> None:
    """No two workers tell the same number, and each is found again."""
    workers = [sibling(tmp_path, index) for index in range(3)]
    public = {each.public(number): (each.index, number) for each in workers for number in range(1, 50)}

    assert len(public) == 3 * 49
    assert all(workers[0].private(number) == whose for number, whose in public.items())


def test_records_of_all_workers_have_one_order() -> None:
    """That of time, to a thousandth of a second; of one worker they rise, also while the clock stands or goes back."""
    times = iter([10.0, 10.0, 9.0, 10.0015, 11.0])
    numbers = list(islice(record_numbers(lambda: next(times), 5), 5))

    assert numbers == sorted(set(numbers))
    assert first_number(10.0) <= numbers[0] < first_number(10.001)
    assert first_number(11.0) <= numbers[-1] < first_number(11.001)
    assert set(numbers).isdisjoint(islice(record_numbers(lambda: 10.0, 6), 100))

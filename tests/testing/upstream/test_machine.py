from __future__ import annotations

import asyncio

import pytest

from llm_pool.testing.upstream.machine import Machine, Model, QueueFull

pytestmark = pytest.mark.anyio

A, B, C = (Model(name=name, size=4, load_time=10.0) for name in "ABC")


class Visits:
    """Who was served when, in virtual seconds since the beginning."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._began = machine, asyncio.get_running_loop().time()
        self.served: list[tuple[str, float]] = []

    async def use(self, model: Model, seconds: float = 1.0, **more: float) -> None:
        async with self._machine.serve(model, **more):
            self.served.append((model.name, asyncio.get_running_loop().time() - self._began))
            await asyncio.sleep(seconds)


async def test_a_model_is_loaded_once() -> None:
    """The first request waits for it, the next one does not."""
    machine = Machine()
    visits = Visits(machine)

    await visits.use(A)
    await visits.use(A)

    assert visits.served == [("A", 10), ("A", 11)]
    assert (machine.loads, machine.evictions) == (1, 0)


async def test_taking_turns_on_a_small_machine_swaps_every_time() -> None:
    """Requests are placed in order of arrival: A B A B costs four loads where A A B B would cost two."""
    turns, sorted_turns = Machine(max_loaded=1), Machine(max_loaded=1)

    for machine, order in ((turns, (A, B, A, B)), (sorted_turns, (A, A, B, B))):
        visits = Visits(machine)
        async with asyncio.TaskGroup() as group:
            for model in order:
                group.create_task(visits.use(model))

    assert (turns.loads, turns.evictions) == (4, 3)
    assert (sorted_turns.loads, sorted_turns.evictions) == (2, 1)


async def test_the_model_unused_for_longest_makes_room() -> None:
    """Memory for two, a third one comes."""
    machine = Machine(memory=8)
    visits = Visits(machine)
    for model in (A, B, A, C):
        await visits.use(model)

    assert set(machine.loaded()) == {"A", "C"}


async def test_a_busy_model_is_not_put_out() -> None:
    """The newcomer waits until it is idle, and everybody behind the newcomer waits too."""
    machine = Machine(max_loaded=1)
    machine.preload([A])
    visits = Visits(machine)

    async with asyncio.TaskGroup() as group:
        for model, seconds in ((A, 5.0), (B, 1.0), (A, 1.0)):
            group.create_task(visits.use(model, seconds))

    assert visits.served == [("A", 0), ("B", 15), ("A", 26)]


async def test_slots_bound_what_a_model_does_at_once() -> None:
    """Two at a time, in order."""
    machine = Machine(slots=2)
    machine.preload([A])
    visits = Visits(machine)

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(visits.use(A))

    assert [at for _, at in visits.served] == [0, 0, 1, 1, 2]


async def test_a_full_queue_refuses() -> None:
    """One works, one waits, the third is turned away."""
    machine = Machine(slots=1, max_queue=1)
    machine.preload([A])
    visits = Visits(machine)
    tasks = [asyncio.create_task(visits.use(A)) for _ in range(2)]
    await asyncio.sleep(0.5)

    with pytest.raises(QueueFull):
        await visits.use(A)

    await asyncio.gather(*tasks)
    await visits.use(A)
    assert len(visits.served) == 3


async def test_leaving_gives_everything_back() -> None:
    """Whether one leaves the queue, the loading or the slot."""
    machine = Machine(slots=1)
    visits = Visits(machine)
    tasks = [asyncio.create_task(visits.use(model, 100.0)) for model in (A, A, B)]
    await asyncio.sleep(11)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    await visits.use(A)

    assert visits.served == [("A", 10), ("A", 11)]
    assert all(resident.idle for resident in machine.loaded().values())


async def test_a_load_ends_with_the_request_that_began_it() -> None:
    """As in Ollama; the next one begins anew, though it waited all the time."""
    machine = Machine()
    visits = Visits(machine)
    first, second = (asyncio.create_task(visits.use(A)) for _ in range(2))
    await asyncio.sleep(9)

    first.cancel()
    await second

    assert visits.served == [("A", 19)]
    assert (machine.loads, machine.aborted) == (2, 1)


async def test_an_idle_model_leaves_when_its_time_is_up() -> None:
    """keep_alive counts from the last use; none at all unloads at once."""
    machine = Machine()
    visits = Visits(machine)
    await visits.use(A, keep_alive=60.0)
    await visits.use(B, keep_alive=0.0)

    assert set(machine.loaded()) == {"A"}
    await asyncio.sleep(61)
    assert not machine.loaded()


async def test_a_model_larger_than_the_memory_is_loaded_alone() -> None:
    """Ollama leaves the rest of it to the CPU."""
    machine = Machine(memory=5)
    visits = Visits(machine)

    await visits.use(A)
    await visits.use(Model(name="huge", size=50, load_time=1.0))

    assert set(machine.loaded()) == {"huge"}

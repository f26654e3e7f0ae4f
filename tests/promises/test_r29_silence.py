"""R29 and R30: a provider that goes silent does not take the pool along, however short the deadline."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import DeadlineExceeded, Failed, LlmPoolError
from llm_pool.core.events import TextArrived
from llm_pool.core.messages import Query, StrategyName
from llm_pool.testing import Reply
from llm_pool.testing.upstream import Upstream
from llm_pool.testing.upstream.machine import Model

if TYPE_CHECKING:
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App

pytestmark = pytest.mark.anyio

MAY_LOSE = 3
REQUESTS = 100
DEADLINES = [0.3, 0.8, 1.5]
SILENT = {
    "hang": Reply.hanging(),
    "stall": Reply("one two three", ttft=0.02, duration=100_000.0),
    "trickle": Reply("one two three four five six seven eight", ttft=0.02, duration=7.0),
    "slow": Reply("one two three four five six seven eight", ttft=0.02, duration=1.8),
}
QUICK = Reply("blue", ttft=0.02, duration=0.04)
MODELS = ("one:1b", "two:1b", "three:1b")


@pytest.mark.parametrize("deadline", DEADLINES)
@pytest.mark.parametrize("silent", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("groups", [(), ("box",) * 3], ids=["machines", "one"])
async def test_at_most_three_are_lost(on_virtual_time: Any, silent: Reply, deadline: float, groups: Any) -> None:
    """On machines of their own and on one with a single slot; and one a trial, as long as it is silent."""
    scripts = silent, QUICK, QUICK
    async with on_virtual_time(*scripts, groups=groups, slots=1, text="budget_floor = 0") as (app, models):
        answers = [await ask(app, number, deadline) for number in range(REQUESTS)]

        lost = sum(answer is None for answer in answers)
        assert lost <= MAY_LOSE + trials(app, models[0].calls[0].began)
        assert sum(model.in_flight for model in models) == 0


@pytest.mark.parametrize("known", [True, False], ids=["after answers", "from the start"])
@pytest.mark.parametrize("silent", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize(
    ("at_once", "deadline", "slots"),
    [(4, 0.3, 4), (8, 0.3, 4), (16, 0.3, 64), (4, 1.0, 1), (8, 1.0, 1), (16, 1.0, 2), (16, 1.5, 1), (4, 0.8, 64)],
)
async def test_nor_where_many_ask_at_once(
    on_virtual_time: Any, silent: Reply, at_once: int, deadline: float, slots: int, known: bool
) -> None:
    """As many as the machines that are well can answer in half of the time, each again and again."""
    ill_from = math.inf
    first = lambda _: silent if asyncio.get_running_loop().time() >= ill_from else QUICK  # noqa: E731
    async with on_virtual_time(first, QUICK, QUICK, slots=slots) as (app, models):
        warm_up = [await ask(app, number, 5.0) for number in range(40 if known else 0)]
        ill_from = asyncio.get_running_loop().time()
        rounds = [several(app, number, deadline, times=REQUESTS // at_once) for number in range(at_once)]
        answers = [answer for each in await asyncio.gather(*rounds) for answer in each]

        assert [answer.winner for answer in warm_up if answer] == ["p0"] * len(warm_up)
        lost = sum(answer is None for answer in answers)
        assert lost <= MAY_LOSE + trials(app, ill_from) + (at_once if silent is SILENT["slow"] else 0)
        assert sum(model.in_flight for model in models) == 0


@pytest.mark.parametrize("deadline", [1.5, 10.0])
@pytest.mark.parametrize("groups", [(), ("box",) * 3], ids=["machines", "one"])
async def test_of_streams_that_are_read_along_one_is_lost(on_virtual_time: Any, deadline: float, groups: Any) -> None:
    """Its first word has been read; after that the first word of the provider is not shown before the second."""
    scripts = SILENT["stall"], QUICK, QUICK
    async with on_virtual_time(*scripts, groups=groups, slots=1) as (app, models):
        answers = [await read_along(app, number, deadline) for number in range(REQUESTS)]

        lost = sum(answer is None or answer.finish != "stop" for answer in answers)
        assert lost <= 1
        assert sum(model.in_flight for model in models) == 0


@pytest.mark.parametrize("known", [True, False], ids=["after answers", "from the start"])
@pytest.mark.parametrize("silent", ["hang", "stall", "trickle"])
@pytest.mark.parametrize(("at_once", "deadline"), [(4, 0.3), (8, 0.6), (8, 1.0), (16, 1.5)])
async def test_nor_on_one_machine_with_one_slot(
    on_virtual_time: Any, silent: str, at_once: int, deadline: float, known: bool
) -> None:
    """The hung call holds the slot once, until it is late; after that nobody waits behind one of its kind."""
    ill_from = math.inf
    first = lambda _: SILENT[silent] if asyncio.get_running_loop().time() >= ill_from else QUICK  # noqa: E731
    async with on_virtual_time(first, QUICK, QUICK, groups=("box",) * 3, slots=1) as (app, models):
        for number in range(40 if known else 0):
            await ask(app, number, 5.0)
        ill_from = asyncio.get_running_loop().time()
        rounds = [several(app, number, deadline, times=REQUESTS // at_once) for number in range(at_once)]
        answers = [answer for each in await asyncio.gather(*rounds) for answer in each]

        assert sum(answer is None for answer in answers) <= MAY_LOSE + trials(app, ill_from)
        assert sum(model.in_flight for model in models) == 0


async def test_it_is_asked_first_again_once_it_is_well(on_virtual_time: Any) -> None:
    """A trial after five seconds finds it well; nobody has to tell."""
    well_at = asyncio.get_running_loop().time() + 12.0
    backs = lambda _: QUICK if asyncio.get_running_loop().time() >= well_at else Reply.hanging()  # noqa: E731
    async with on_virtual_time(backs, QUICK) as (app, _):
        winners = []
        for number in range(60):
            answer = await ask(app, number, 0.8)
            winners.append(answer.winner if answer else "")
            await asyncio.sleep(0.5)

        assert winners[10] == "p1"
        assert winners[-10:] == ["p0"] * 10


@pytest.mark.parametrize("strategy", [StrategyName.FASTEST, StrategyName.VOTING, StrategyName.CONSENSUS])
async def test_many_at_once(on_virtual_time: Any, strategy: StrategyName) -> None:
    """Thirty askers a second, for three seconds: those who came before it was known are helped out too."""
    async with on_virtual_time(Reply.hanging(), QUICK, QUICK) as (app, models):
        asking = []
        for number in range(90):
            asking.append(asyncio.create_task(ask(app, number, 1.5, strategy=strategy)))
            await asyncio.sleep(1 / 30)
        answers = await asyncio.gather(*asking)

        assert sum(answer is None for answer in answers) <= MAY_LOSE
        assert sum(model.in_flight for model in models) == 0


async def test_the_impatient_take_no_backend_from_the_patient(on_virtual_time: Any) -> None:
    """Hundreds who have less time than it needs; who has enough is answered by it, at once."""
    slower = Reply("blue", ttft=0.25, duration=0.3)
    async with on_virtual_time(slower, QUICK) as (app, _):
        for number in range(200):
            await ask(app, number, 0.2)
        answer = await ask(app, 1000, 10.0)

        assert answer is not None
        assert answer.winner == "p0"


@pytest.mark.parametrize("strategy", StrategyName)
async def test_one_hung_model_does_not_hold_the_machine(on_virtual_time: Any, strategy: StrategyName) -> None:
    """Three models on one machine with one slot, the first hangs: every request is answered in time, the first too."""
    scripts = Reply.hanging(), QUICK, QUICK
    async with on_virtual_time(*scripts, groups=("box",) * 3, slots=1) as (app, models):
        answers = [await ask(app, number, 3.0, strategy=strategy) for number in range(6)]

        assert None not in answers
        assert all(answer.duration <= 3.0 for answer in answers if answer)
        assert sum(model.in_flight for model in models) == 0


@pytest.mark.real_loop
@pytest.mark.parametrize("strategy", [StrategyName.VOTING, StrategyName.WEIGHTED, StrategyName.CONSENSUS])
async def test_a_model_that_is_being_loaded_is_not_silent(over_loopback: Any, strategy: StrategyName) -> None:
    """Its vote is waited for, longer than a silence would be borne, and nothing is held against it."""
    models = [Model(name=name, load_time=1.6) for name in MODELS]
    async with Upstream(models, cold=True, answer=lambda request: f"it is {MODELS.index(request.model)}") as server:
        server.machine.preload([server.models[name] for name in MODELS[:2]])
        one_machine = {"groups": ("box",) * 3, "slots": 1, "models": MODELS}
        async with over_loopback(server, server, server, text="max_deadline_ms = 9000", **one_machine) as app:
            answer = await ask(app, 0, 9.0, strategy=strategy)

            assert answer is not None
            votes = {a.provider: a.outcome for a in answer.decision.attempts if a.why == "vote"}
            assert votes == dict.fromkeys(("p0", "p1", "p2"), "ok")
            assert all(suspicion.is_clear for suspicion in app.pool_state.suspicions._of.values())


@pytest.mark.real_loop
@pytest.mark.parametrize("machines", [3, 1])
@pytest.mark.parametrize("mode", ["hang", "stall:1", "trickle:1"])
async def test_over_sockets(over_loopback: Any, mode: str, machines: int) -> None:
    """The shortest deadline, against real servers; the loser is cancelled there too."""
    async with Upstream(MODELS, slots=1) as one, Upstream(MODELS) as two, Upstream(MODELS) as three:
        servers = [one, two, three] if machines == 3 else [one, one, one]
        names = [f"g{at}" if machines == 3 else "box" for at in range(3)]
        async with over_loopback(*servers, groups=names, slots=1, models=MODELS) as app:
            for number in range(10):
                await ask(app, number, 5.0)
            one.set_mode(MODELS[0], mode)
            answers = [await ask(app, 100 + number, 0.3) for number in range(20)]
            await asyncio.sleep(0.1)

            assert sum(answer is None for answer in answers) <= MAY_LOSE
            assert [entry for entry in one.journal.entries if entry.model and entry.ended is None] == []


async def ask(app: App, number: int, deadline: float, **query: Any) -> Answer | None:
    """An answer, or None where there was none."""
    try:
        return await app.orchestrator.infer(Query(prompt=f"{number}?", deadline=deadline, **query))
    except LlmPoolError:
        return None


async def read_along(app: App, number: int, deadline: float) -> Answer | None:
    """A streamed answer; what was read of it is its text."""
    read = list[str]()

    def on(event: Event) -> None:
        if isinstance(event, TextArrived) and event.committed:
            read.append(event.text)

    try:
        answer = await app.orchestrator.infer(Query(prompt=f"{number}?", deadline=deadline), on)
    except LlmPoolError:
        return None
    assert "".join(read) == answer.content
    return answer


async def several(app: App, number: int, deadline: float, *, times: int) -> list[Answer | None]:
    """One asker, again and again."""
    return [await ask(app, 1000 * number + at, deadline) for at in range(times)]


def trials(app: App, began: float) -> int:
    """How often the silent one may have been tried since *began*: after five seconds, then ten, and so on."""
    now, at, hold, count = app.pool_state.clock.now(), began, 5.0, 0
    while (at := at + hold) <= now:
        count, hold = count + 1, min(2 * hold, 60.0)
    return count


@pytest.mark.parametrize("strategy", [StrategyName.FASTEST, StrategyName.VOTING])
async def test_a_deadline_that_ended_it_is_what_is_told(on_virtual_time: Any, strategy: StrategyName) -> None:
    """One had failed before; it was the silence of the others that took the time."""
    broken = Reply.failing(Failed("p0", "500"))
    async with on_virtual_time(broken, Reply.hanging(), Reply.hanging()) as (app, _):
        with pytest.raises(DeadlineExceeded) as caught:
            await app.orchestrator.infer(Query(prompt="q", deadline=0.5, strategy=strategy))

    assert caught.value.asked == pytest.approx(0.5)

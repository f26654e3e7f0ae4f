"""Computer algebra: only where it can decide, in a process that ends in time."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.agreement import symbolic
from llm_pool.core.clock import SystemClock
from llm_pool.core.messages import Attempt, Reading, Task
from llm_pool.ensemble import formulas
from llm_pool.ensemble.ballots import valid_ballots
from llm_pool.ensemble.formulas import Formulas, undecided
from llm_pool.ensemble.voting import EqualWeights, Voting
from llm_pool.testing import RecordingObserver, Reply, ScriptedProvider, a_call, a_panel

if TYPE_CHECKING:
    from llm_pool.core.messages import Call
    from llm_pool.ensemble.ballots import Ballot

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

SCHEMA = {"type": "object", "properties": {"answer": {}}, "required": ["answer"]}
SUM = Task(name="sum", template="", kind="value", field="answer", output_schema=SCHEMA)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of it for a busy machine."""
    monkeypatch.setattr(formulas, "PATIENCE", 25.0)


installed = pytest.mark.skipif(not formulas.IS_INSTALLED, reason="needs the extra math")


def asked(seconds: float = 30.0) -> Call:
    call = a_call(task=SUM, schema=SCHEMA)
    now = asyncio.get_running_loop().time()
    return msgspec.structs.replace(call, began=now, deadline=now + seconds)


def ballots(call: Call, *answers: str) -> list[Ballot]:
    panel = a_panel(*(ScriptedProvider(f"p{place}", Reply("")) for place in range(len(answers))))
    attempts = [
        Attempt(
            provider=f"p{place}",
            model="m",
            outcome="ok",
            started=0,
            duration=1,
            reading=Reading(answer, {"answer": answer}),
        )
        for place, answer in enumerate(answers)
    ]
    return valid_ballots(call, panel, attempts, EqualWeights())


async def test_it_is_asked_only_where_it_can_decide() -> None:
    """Not where there is a majority, and not about numbers and words."""
    call = asked()

    assert len(undecided(call, ballots(call, "(x+1)^2", "x^2+2x+1", "2"))) == 3
    assert undecided(call, ballots(call, "(x+1)^2", "(x + 1)^2", "x")) == []
    assert undecided(call, ballots(call, "1", "2", "3-1")) == []
    assert undecided(call, ballots(call, "red", "blue")) == []


@installed
async def test_equal_formulas_are_one_answer_of_a_vote() -> None:
    """Two spell one formula in two ways, and outvote the third."""
    providers = [
        ScriptedProvider(f"p{place}", Reply(json.dumps({"answer": answer})))
        for place, answer in enumerate(("x^2 + 1", "(x+1)^{2}", "x^2+2x+1"))
    ]

    decision = await Voting(SystemClock(), formulas=Formulas(SystemClock())).run(
        asked(), a_panel(*providers), RecordingObserver().on
    )

    assert decision.winner in {"p1", "p2"}
    assert [cluster.providers for cluster in decision.clusters] == [("p1", "p2"), ("p0",)]


@installed
async def test_it_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes for ever is killed, and leaves the answers as different as they were."""
    call = asked()
    began = time.monotonic()
    monkeypatch.setattr(formulas, "PATIENCE", 3.0)

    told = await Formulas(SystemClock()).equal(call, ballots(call, "9^(9^(9^(9^x)))", "x^(9^9)-1", "(x+1)^(99999)"))

    assert told == {}
    assert time.monotonic() - began < 5 * formulas.PATIENCE


@installed
async def test_a_request_that_ends_takes_it_along() -> None:
    """Cancelled, it kills its process and is free for the next."""
    call, algebra = asked(), Formulas(SystemClock())
    told = ballots(call, "(x+1)^2", "x^2+2x+1", "x")
    task = asyncio.create_task(algebra.equal(call, told))
    await asyncio.sleep(0.3)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len({key.shape for key in (await algebra.equal(call, told)).values()}) == 1


async def test_without_time_nobody_is_started() -> None:
    """A late answer is none."""
    call = asked(0.5)

    assert await Formulas(SystemClock()).equal(call, ballots(call, "(x+1)^2", "x^2+2x+1")) == {}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [("2sqrt(x)/3", r"2\sqrt{x}/3"), ("x^12", "x^{12}"), ("pi*r^(2n)", r"\pi \cdot r^{2n}"), ("x<=3", r"x\leq 3")],
)
async def test_formulas_are_told_in_latex(formula: str, expected: str) -> None:
    """The grammar that reads them knows nothing else."""
    assert symbolic.latex(formula) == expected

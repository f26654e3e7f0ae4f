"""What was learned outlives the process, full disks and crashes, and stays with whom it belongs to."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec
import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.events import RequestAnswered
from llm_pool.core.messages import Attempt, Cluster, Query, Reading
from llm_pool.tasks import ASK
from llm_pool.testing import an_answer
from llm_pool.trust import learning as module
from llm_pool.trust.learning import MAX_DECISIONS, StoredDecision, TrustLearner, take_feedback
from llm_pool.trust.model import STRENGTH, PanelAnswer, PanelOutcome, Trust
from llm_pool.trust.store import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

LESSON = PanelOutcome("judge", (PanelAnswer("a", 0), PanelAnswer("c", 0), PanelAnswer("b", 1)))


@pytest.fixture
def learning(tmp_path: Path) -> Callable[[], TrustLearner]:
    """Makes one over the same files each time, as processes do one after the other."""

    def make() -> TrustLearner:
        return TrustLearner(Trust(), TrustStore(tmp_path / "trust.json"), tmp_path / "decisions.jsonl", lambda _: None)  # type: ignore[arg-type,return-value]  # no task is asked for

    return make


def learn(it: TrustLearner, *ids: str, tenant: str = "") -> None:
    it._pending += [(StoredDecision(request_id, LESSON, {}, tenant), "decision") for request_id in ids]


async def test_feedback_is_for_ones_own_requests(learning: Callable[[], TrustLearner]) -> None:
    """The same id of another tenant is another request."""
    it = learning()
    learn(it, "r1", tenant="acme")

    with pytest.raises(InvalidRequest):
        await it.feedback("r1", "other", good=True)

    assert await it.feedback("r1", "acme", good=True) is True


async def test_feedback_counts_at_once_and_for_the_next_process(learning: Callable[[], TrustLearner]) -> None:
    """In memory, and in the file."""
    it = learning()
    learn(it, "r1")

    await it.feedback("r1", "", good=True)

    assert it._trust.trust_records()
    assert (await asyncio.to_thread(it._store.load)).trust_records()


async def test_one_answer_has_one_vote(learning: Callable[[], TrustLearner]) -> None:
    """However often, at once, and from another process too."""
    it = learning()
    learn(it, "r1", tenant="beta")

    said = await asyncio.gather(*(it.feedback("r1", "beta", good=False) for _ in range(20)))
    again = await learning().feedback("r1", "beta", good=True)

    assert (sum(said), again) == (1, False)
    [record] = [s for s in it._trust.trust_records() if s.expert == "provider:a"]
    assert (record.task, record.losses) == ("beta/judge", STRENGTH["feedback"])


async def test_feedback_that_cannot_be_kept_is_refused(learning: Callable[[], TrustLearner], tmp_path: Path) -> None:
    """With a sentence, and without having learned it."""
    it = learning()
    learn(it, "r1")
    await it.flush()
    before = it._trust.trust_records()
    (tmp_path / "trust.json").unlink()
    (tmp_path / "trust.json").mkdir()

    with pytest.raises(InvalidRequest, match="cannot be kept"):
        await it.feedback("r1", "", good=True)

    assert it._trust.trust_records() == before


async def test_a_line_cut_short_by_a_crash_hides_no_other(learning: Callable[[], TrustLearner], tmp_path: Path) -> None:
    """It is skipped."""
    it = learning()
    learn(it, "r1")
    await it.flush()
    with (tmp_path / "decisions.jsonl").open("ab") as file:
        file.write(b'{"request_id":"r2","les\n')

    decision_log = tmp_path / "decisions.jsonl"
    assert await asyncio.to_thread(take_feedback, "r1", it._store, decision_log, good=True) is True


async def test_the_book_does_not_grow_for_ever(
    learning: Callable[[], TrustLearner], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest stay."""
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 10_000)
    it = learning()
    learn(it, *(f"r{number}" for number in range(3 * MAX_DECISIONS)))

    await it.flush()

    lines = (tmp_path / "decisions.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["request_id"] for line in (lines[0], lines[-1])] == [
        f"r{2 * MAX_DECISIONS}",
        "r2999",
    ]


async def test_a_disk_that_takes_nothing_stops_nobody(
    learning: Callable[[], TrustLearner], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, once for each time."""
    (tmp_path / "decisions.jsonl").mkdir()
    it = learning()
    learn(it, "r1")

    with caplog.at_level(logging.WARNING):
        await it.flush()

    assert "could not be kept" in caplog.text


async def test_a_decision_that_many_requests_share_teaches_once(tmp_path: Path) -> None:
    """Each of them can be given feedback on, but joining a run adds nothing to what it taught."""
    trust = Trust()
    it = TrustLearner(trust, TrustStore(tmp_path / "trust.json"), tmp_path / "decisions.jsonl", lambda name: ASK)
    blue, red = (Reading(content=text, value=None) for text in ("blue", "red"))
    attempts = tuple(
        Attempt(provider=name, model=name, outcome="ok", started=0, duration=1, why="vote", reading=reading)
        for name, reading in (("a", blue), ("b", red), ("c", blue))
    )
    answer = an_answer("blue")
    decision = msgspec.structs.replace(
        answer.decision, winner="a", attempts=attempts, clusters=(Cluster(("a", "c"), 2.0), Cluster(("b",), 1.0))
    )

    for number in range(20):
        shared = msgspec.structs.replace(answer, decision=decision, request_id=f"r{number}")
        it.on(RequestAnswered(Query(prompt="q"), shared))
    await it.flush()

    [taught] = [s for s in trust.trust_records() if s.expert == "provider:a"]
    assert taught.wins == STRENGTH["decision"]
    assert await it.feedback("r7", "", good=True) is True

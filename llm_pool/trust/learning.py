"""
What becomes of decisions: trust learned from them, at once and when a person says how good one was.

A decision that divided the panel is a lesson. It is taken in when the pool closes and from time to time before
(one locked change of the trust file, off the event loop), and kept by request id, so that ``llm-pool feedback``
finds it later, in another process. Lessons hold names and clusters, never a prompt or an answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from llm_pool.agreement import evidence
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.events import RequestAnswered
from llm_pool.core.messages import StrategyName
from llm_pool.trust.model import PanelAnswer, PanelOutcome  # msgspec reads it when it decodes
from llm_pool.trust.store import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Decision, Task
    from llm_pool.trust.model import Source, Trust

MAX_DECISIONS = 1000
"""Decisions that feedback can still be given on."""
MAX_SHARED_DECISIONS = 64
"""Decisions that requests may still join or repeat; each holds its answers, so not many more than are in the air."""
MAX_LOG_BYTES = 4 << 20
"""Bytes of their file at which it is cut back to these: a daemon may run for years."""

_log = logging.getLogger("llm_pool.trust")


class StoredDecision(msgspec.Struct, frozen=True):
    """
    One decision, as feedback needs it.

    Attributes:
        correct_judges: the judges whose first choice won.
    """

    request_id: str
    panel_outcome: PanelOutcome
    correct_judges: tuple[str, ...] = ()
    tenant_id: str = ""


def state_folder() -> Path:
    """``LLM_POOL_STATE``, or ``llm-pool`` in the user's state folder. It need not exist."""
    if folder := os.environ.get("LLM_POOL_STATE"):
        return Path(folder)
    import platformdirs

    return platformdirs.user_state_path("llm-pool", appauthor=False)


def trust_store() -> TrustStore:
    """The trust file in the state folder."""
    return TrustStore(state_folder() / "trust.json")


def decision_log_path() -> Path:
    """The file of decisions in the state folder."""
    return state_folder() / "decisions.jsonl"


class TrustLearner:
    """
    An observer that learns.

    Args:
        trust: learns at once, for the decisions of this process.
        store: the file behind it.
        decision_log: the file of decisions by request id.
        load_task: a task by its name.
    """

    def __init__(self, trust: Trust, store: TrustStore, decision_log: Path, load_task: Callable[[str], Task]) -> None:
        self._trust, self._store, self._decision_log, self._load_task = trust, store, decision_log, load_task
        self._pending: list[tuple[StoredDecision, Source | None]] = []
        self._already_learned: dict[int, Decision] = {}

    def on(self, event: Event) -> None:
        """Learn from an answer of several models; anything else teaches nothing."""
        if not isinstance(event, RequestAnswered) or event.answer.from_cache:
            return
        answer = event.answer
        said = sum(attempt.reading is not None and attempt.why != "judge" for attempt in answer.decision.attempts)
        if said < 2:
            return
        stored = _stored(event.query.tenant_id, answer, self._load_task(answer.task))
        source = self._source(answer.decision)
        if source is not None:
            self._trust.learn(stored.panel_outcome, source)
        self._pending.append((stored, source))

    def _source(self, decision: Decision) -> Source | None:
        """What *decision* teaches as; None if it taught already: many requests may share one run."""
        run = id(decision.reading)  # every copy of the run's decision has it, also one that was kept without reasoning
        if run in self._already_learned:
            return None
        self._already_learned[run] = decision  # held, so that no other can take its place in memory
        if len(self._already_learned) > MAX_SHARED_DECISIONS:
            del self._already_learned[next(iter(self._already_learned))]
        return "judge" if decision.used is StrategyName.JUDGE and decision.judge is not None else "decision"

    async def flush(self) -> None:
        """Keep what was learned since the last time; a disk that takes nothing costs these lessons, nothing else."""
        pending, self._pending = self._pending, []
        if pending:
            try:
                await asyncio.to_thread(self._save, pending)
            except OSError as error:
                _log.warning("what was learned could not be kept: %s", error)

    async def feedback(self, request_id: str, tenant_id: str, *, good: bool) -> bool:
        """As ``take_feedback``, of a tenant's own requests, and learn it at once."""
        await self.flush()
        stored = await asyncio.to_thread(_find, request_id, self._decision_log, tenant_id)
        _learn_feedback(stored, self._trust, good=good)
        await asyncio.to_thread(self._store.change, lambda trust: _learn_feedback(stored, trust, good=good))
        return stored.panel_outcome.is_divided

    def _save(self, pending: list[tuple[StoredDecision, Source | None]]) -> None:
        def change(trust: Trust) -> None:
            for stored, source in pending:
                if source is not None:
                    trust.learn(stored.panel_outcome, source)

        self._store.change(change)
        with self._decision_log.open("ab") as file:
            file.write(msgspec.json.Encoder().encode_lines([stored for stored, _ in pending]))
        if self._decision_log.stat().st_size > MAX_LOG_BYTES:
            _truncate(self._decision_log)


def take_feedback(request_id: str, store: TrustStore, decision_log: Path, *, good: bool) -> bool:
    """
    Learn from what a person says of the answer to *request_id*, whoever asked.

    Returns:
        Whether there was anything to learn: where the panel agreed, nobody earns trust over the others.

    Raises:
        InvalidRequest: no such request is remembered.
    """
    stored = _find(request_id, decision_log, tenant_id=None)
    store.change(lambda trust: _learn_feedback(stored, trust, good=good))
    return stored.panel_outcome.is_divided


def _learn_feedback(stored: StoredDecision, trust: Trust, *, good: bool) -> None:
    trust.learn(stored.panel_outcome, "feedback", good=good)
    for judge in stored.correct_judges:
        trust.learn_judge(judge, stored.panel_outcome.task, right=good)


def _truncate(decision_log: Path) -> None:
    """Keep the last KEPT lines of *decision_log*; it is replaced, never written into."""
    lines = decision_log.read_bytes().splitlines(keepends=True)
    shorter = decision_log.with_suffix(".new")
    shorter.write_bytes(b"".join(lines[-MAX_DECISIONS:]))
    shorter.replace(decision_log)


def _find(request_id: str, decision_log: Path, tenant_id: str | None) -> StoredDecision:
    recent: deque[bytes] = deque(maxlen=MAX_DECISIONS)
    if decision_log.exists():
        with decision_log.open("rb") as file:
            recent.extend(file)
    for line in reversed(recent):
        with suppress(msgspec.DecodeError):  # a crash may have cut a line short
            stored = msgspec.json.decode(line, type=StoredDecision)
            if stored.request_id == request_id and tenant_id in {None, stored.tenant_id}:
                return stored
    raise InvalidRequest(
        "request_id",
        f"no decision of several models is remembered under '{request_id}'",
        hint="llm-pool infer --json  prints the request_id of an answer",
    )


def panel_outcome(task: Task, decision: Decision) -> PanelOutcome:
    """What *decision* can teach, now or when feedback comes: who said what, the winning cluster first."""
    readings = {a.provider: a.reading for a in decision.attempts if a.reading is not None}
    ordered = sorted(decision.clusters, key=lambda cluster: decision.winner not in cluster.providers)
    return PanelOutcome(
        task.name,
        tuple(
            PanelAnswer(name, index, evidence(task, readings[name]))
            for index, cluster in enumerate(ordered)
            for name in cluster.providers
            if name in readings
        ),
    )


def _stored(tenant_id: str, answer: Answer, task: Task) -> StoredDecision:
    judge = answer.decision.judge or {}
    right = tuple(name for name, word in judge.items() if word.get(answer.winner) == max(word.values()))
    return StoredDecision(answer.request_id, panel_outcome(task, answer.decision), right, tenant_id)

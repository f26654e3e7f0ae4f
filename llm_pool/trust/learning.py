"""
What becomes of decisions: trust learned from them, at once and when a person says how good one was.

A decision that divided the panel teaches. It is taken in when the pool closes and from time to time before
(one locked change of the trust file, off the event loop), and kept by request id, so that ``llm-pool feedback``
finds it later, in another process. Lessons hold names and clusters, never a prompt or an answer.

The first word on an answer counts, and no other: a line in the same file says that it was heard. A tenant's decisions
and its feedback teach its own trust only. Where processes share decisions (``DecisionExchange``), feedback is taken by
each of them, whoever answered.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.events import RequestAnswered
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
        judges: each judge that preferred one candidate, and whether that one won.
        margin: as in the decision.
    """

    request_id: str
    panel_outcome: PanelOutcome
    judges: dict[str, bool] = msgspec.field(default_factory=dict)
    tenant_id: str = ""
    margin: float | None = None


class Heard(msgspec.Struct, frozen=True):
    """That somebody said how good the answer to *heard* of *tenant_id* was."""

    heard: str
    tenant_id: str = ""


class AlreadyHeard(Exception):
    """Somebody said before how good the answer was."""


class DecisionExchange(Protocol):
    """Decisions that other processes take feedback on too."""

    def keep(self, stored: StoredDecision) -> None:
        """Let them know it."""

    async def take(self, request_id: str, tenant_id: str) -> StoredDecision | None:
        """The decision, for the first word on it; None where it is not known. Raises AlreadyHeard."""

    async def give_back(self, stored: StoredDecision) -> None:
        """The word that took it was not learned after all."""


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
        exchange: the decisions of other processes; None where there are none.
    """

    def __init__(
        self,
        trust: Trust,
        store: TrustStore,
        decision_log: Path,
        load_task: Callable[[str], Task],
        exchange: DecisionExchange | None = None,
    ) -> None:
        self._trust, self._store, self._decision_log, self._load_task = trust, store, decision_log, load_task
        self._exchange = exchange
        self._pending: list[tuple[StoredDecision, Source | None]] = []
        self._already_learned: dict[int, Decision] = {}
        self._keeping = asyncio.Lock()

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
            self._trust.of(stored.tenant_id).learn(stored.panel_outcome, source)
        self._pending.append((stored, source))
        if self._exchange is not None:
            self._exchange.keep(stored)

    def _source(self, decision: Decision) -> Source | None:
        """What *decision* teaches as; None if it taught already: many requests may share one run."""
        run = id(decision.reading)  # every copy of the run's decision has it, also one that was kept without reasoning
        if run in self._already_learned:
            return None
        self._already_learned[run] = decision  # held, so that no other can take its place in memory
        if len(self._already_learned) > MAX_SHARED_DECISIONS:
            del self._already_learned[next(iter(self._already_learned))]
        return "judge" if any(preferences(decision).values()) else "decision"

    async def flush(self) -> None:
        """Keep what was learned since the last time; a disk that takes nothing costs these lessons, nothing else."""
        async with self._keeping:  # who comes second finds kept what the first took away
            pending, self._pending = self._pending, []
            if pending:
                try:
                    await asyncio.to_thread(self._save, pending)
                except OSError as error:
                    _log.warning("what was learned could not be kept: %s", error)

    async def feedback(self, request_id: str, tenant_id: str, *, good: bool) -> bool:
        """As ``take_feedback``, of a tenant's own requests and those of other processes, and learn it at once."""
        await self.flush()
        try:
            shared = None if self._exchange is None else await self._exchange.take(request_id, tenant_id)
        except AlreadyHeard:
            return False
        take = partial(_take, request_id, tenant_id, self._store, self._decision_log, good=good, shared=shared)
        try:
            stored = await asyncio.to_thread(take)
        except InvalidRequest:
            if self._exchange is not None and shared is not None:
                await self._exchange.give_back(shared)
            raise
        if stored is None:
            return False
        _learn_feedback(stored, self._trust, good=good)
        return stored.panel_outcome.is_divided

    def _save(self, pending: list[tuple[StoredDecision, Source | None]]) -> None:
        def change(trust: Trust) -> None:
            for stored, source in pending:
                if source is not None:
                    trust.of(stored.tenant_id).learn(stored.panel_outcome, source)

        self._store.change(change)
        with self._decision_log.open("ab") as file:
            file.write(msgspec.json.Encoder().encode_lines([stored for stored, _ in pending]))
        if self._decision_log.stat().st_size > MAX_LOG_BYTES:
            _truncate(self._decision_log)


def take_feedback(request_id: str, store: TrustStore, decision_log: Path, *, good: bool) -> bool:
    """
    Learn from what a person says of the answer to *request_id*, whoever asked.

    Returns:
        Whether there was anything to learn: where the panel agreed, nobody earns trust over the others, and after
        the first word on an answer no other counts.

    Raises:
        InvalidRequest: no such request is remembered, or what was learned cannot be kept.
    """
    stored = _take(request_id, None, store, decision_log, good=good)
    return stored is not None and stored.panel_outcome.is_divided


def _take(
    request_id: str,
    tenant_id: str | None,
    store: TrustStore,
    decision_log: Path,
    *,
    good: bool,
    shared: StoredDecision | None = None,
) -> StoredDecision | None:
    """Keep what the feedback teaches, and that it was heard; None if it was before. *shared* may be known elsewhere."""
    taken: list[StoredDecision] = []

    def change(trust: Trust) -> None:  # under the file's lock, so that of several at once one is the first
        stored, heard = _find(request_id, decision_log, tenant_id, shared)
        if heard:
            return
        _learn_feedback(stored, trust, good=good)
        with decision_log.open("ab") as file:
            file.write(msgspec.json.encode(Heard(request_id, stored.tenant_id)) + b"\n")
        taken.append(stored)

    try:
        store.change(change)
    except OSError as error:
        raise InvalidRequest(
            "request_id", f"what was learned cannot be kept: {error}", hint="see LLM_POOL_STATE in docs/cli.md"
        ) from error
    return taken[0] if taken else None


def _learn_feedback(stored: StoredDecision, trust: Trust, *, good: bool) -> None:
    own = trust.of(stored.tenant_id)
    outcome = stored.panel_outcome
    own.learn(outcome, "feedback", good=good)
    margin = stored.margin
    if margin is not None and (good or margin >= 0):
        own.learn_margin(outcome.task, abs(margin), right=good and margin >= 0)
    for judge, chose_it in stored.judges.items():
        own.learn_judge(judge, outcome.task, chose_it=chose_it, good=good, rivals=outcome.rivals)


def _truncate(decision_log: Path) -> None:
    """Keep the last KEPT lines of *decision_log*; it is replaced, never written into."""
    lines = decision_log.read_bytes().splitlines(keepends=True)
    shorter = decision_log.with_suffix(".new")
    shorter.write_bytes(b"".join(lines[-MAX_DECISIONS:]))
    shorter.replace(decision_log)


def _find(
    request_id: str, decision_log: Path, tenant_id: str | None, shared: StoredDecision | None
) -> tuple[StoredDecision, bool]:
    """The latest decision under *request_id*, else *shared*, and whether feedback on it was heard."""
    recent: deque[bytes] = deque(maxlen=MAX_DECISIONS)
    if decision_log.exists():
        with decision_log.open("rb") as file:
            recent.extend(file)
    heard: set[str] = set()
    for line in reversed(recent):
        with suppress(msgspec.DecodeError, RecursionError):  # a crash may have cut a line short
            said = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if "heard" in said:
                mark = msgspec.json.decode(line, type=Heard)
                heard |= {mark.tenant_id} if mark.heard == request_id else set()
                continue
            stored = msgspec.json.decode(line, type=StoredDecision)
            if stored.request_id == request_id and tenant_id in {None, stored.tenant_id}:
                return stored, stored.tenant_id in heard
    if shared is not None:
        return shared, shared.tenant_id in heard
    raise InvalidRequest(
        "request_id",
        f"no decision of several models is remembered under '{request_id}'",
        hint="the request_id is in the JSON of an answer",
    )


def panel_outcome(task: Task, decision: Decision) -> PanelOutcome:
    """What *decision* can teach, now or when feedback comes: who said what, the winning cluster first."""
    from llm_pool.agreement import evidence  # its patterns cost a start more than all of the rest here

    readings = {a.provider: a.reading for a in decision.attempts if a.reading is not None and a.why != "judge"}
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
    return StoredDecision(
        answer.request_id,
        panel_outcome(task, answer.decision),
        preferences(answer.decision),
        tenant_id,
        answer.decision.margin,
    )


def preferences(decision: Decision) -> dict[str, bool]:
    """Whether the winner was a judge's first choice, for each judge that had one."""
    told = decision.judge or {}
    winners = next((c.providers for c in decision.clusters if decision.winner in c.providers), (decision.winner,))
    found = {}
    for judge, word in told.items():
        first = [name for name, p in word.items() if p == max(word.values())]
        if len(first) == 1:
            found[judge] = first[0] in winners
    return found

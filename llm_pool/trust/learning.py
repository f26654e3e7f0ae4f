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

from llm_pool.errors import InvalidRequest
from llm_pool.messages import Answered, StrategyName
from llm_pool.trust import Lesson  # noqa: TC001  # msgspec reads it when it decodes
from llm_pool.trust_store import TrustStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.messages import Answer, Decision, Event, Task
    from llm_pool.trust import Source, Trust

KEPT = 1000
"""Decisions that feedback can still be given on."""
SHARED = 64
"""Decisions that requests may still join or repeat; each holds its answers, so not many more than are in the air."""
BOOK_LIMIT = 4 << 20
"""Bytes of their file at which it is cut back to these: a daemon may run for years."""

_log = logging.getLogger("llm_pool.learning")


class Remembered(msgspec.Struct, frozen=True):
    """
    One decision, as feedback needs it.

    Attributes:
        judged_right: the judges whose first choice won.
    """

    request_id: str
    lesson: Lesson
    judged_right: tuple[str, ...] = ()
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


def decision_book() -> Path:
    """The file of decisions in the state folder."""
    return state_folder() / "decisions.jsonl"


class Learning:
    """
    An observer that learns.

    Args:
        trust: learns at once, for the decisions of this process.
        store: the file behind it.
        book: the file of decisions by request id.
        load_task: a task by its name.
    """

    def __init__(self, trust: Trust, store: TrustStore, book: Path, load_task: Callable[[str], Task]) -> None:
        self._trust, self._store, self._book, self._load_task = trust, store, book, load_task
        self._fresh: list[tuple[Remembered, Source | None]] = []
        self._learned: dict[int, Decision] = {}

    def on(self, event: Event) -> None:
        """Learn from an answer of several models; anything else teaches nothing."""
        if not isinstance(event, Answered) or event.answer.from_cache:
            return
        answer = event.answer
        said = sum(attempt.reading is not None and attempt.why != "judge" for attempt in answer.decision.attempts)
        if said < 2:
            return
        remembered = _remember(event.query.tenant_id, answer, self._load_task(answer.task))
        source = self._source(answer.decision)
        if source is not None:
            self._trust.learn(remembered.lesson, source)
        self._fresh.append((remembered, source))

    def _source(self, decision: Decision) -> Source | None:
        """What *decision* teaches as; None if it taught already: many requests may share one run."""
        if id(decision) in self._learned:
            return None
        self._learned[id(decision)] = decision  # held, so that no other can take its place in memory
        if len(self._learned) > SHARED:
            del self._learned[next(iter(self._learned))]
        return "judge" if decision.used is StrategyName.JUDGE and decision.judge is not None else "decision"

    async def flush(self) -> None:
        """Keep what was learned since the last time; a disk that takes nothing costs these lessons, nothing else."""
        fresh, self._fresh = self._fresh, []
        if fresh:
            try:
                await asyncio.to_thread(self._keep, fresh)
            except OSError as error:
                _log.warning("what was learned could not be kept: %s", error)

    async def feedback(self, request_id: str, tenant_id: str, *, good: bool) -> bool:
        """As ``take_feedback``, of a tenant's own requests, and learn it at once."""
        await self.flush()
        remembered = await asyncio.to_thread(_find, request_id, self._book, tenant_id)
        _learn_feedback(remembered, self._trust, good=good)
        await asyncio.to_thread(self._store.change, lambda trust: _learn_feedback(remembered, trust, good=good))
        return remembered.lesson.divided

    def _keep(self, fresh: list[tuple[Remembered, Source | None]]) -> None:
        def change(trust: Trust) -> None:
            for remembered, source in fresh:
                if source is not None:
                    trust.learn(remembered.lesson, source)

        self._store.change(change)
        with self._book.open("ab") as file:
            file.write(msgspec.json.Encoder().encode_lines([remembered for remembered, _ in fresh]))
        if self._book.stat().st_size > BOOK_LIMIT:
            _shorten(self._book)


def take_feedback(request_id: str, store: TrustStore, book: Path, *, good: bool) -> bool:
    """
    Learn from what a person says of the answer to *request_id*, whoever asked.

    Returns:
        Whether there was anything to learn: where the panel agreed, nobody earns trust over the others.

    Raises:
        InvalidRequest: no such request is remembered.
    """
    remembered = _find(request_id, book, tenant_id=None)
    store.change(lambda trust: _learn_feedback(remembered, trust, good=good))
    return remembered.lesson.divided


def _learn_feedback(remembered: Remembered, trust: Trust, *, good: bool) -> None:
    trust.learn(remembered.lesson, "feedback", good=good)
    for judge in remembered.judged_right:
        trust.learn_judge(judge, remembered.lesson.task, right=good)


def _shorten(book: Path) -> None:
    """Keep the last KEPT lines of *book*; it is replaced, never written into."""
    lines = book.read_bytes().splitlines(keepends=True)
    shorter = book.with_suffix(".new")
    shorter.write_bytes(b"".join(lines[-KEPT:]))
    shorter.replace(book)


def _find(request_id: str, book: Path, tenant_id: str | None) -> Remembered:
    recent: deque[bytes] = deque(maxlen=KEPT)
    if book.exists():
        with book.open("rb") as file:
            recent.extend(file)
    for line in reversed(recent):
        with suppress(msgspec.DecodeError):  # a crash may have cut a line short
            remembered = msgspec.json.decode(line, type=Remembered)
            if remembered.request_id == request_id and tenant_id in {None, remembered.tenant_id}:
                return remembered
    raise InvalidRequest(
        "request_id",
        f"no decision of several models is remembered under '{request_id}'",
        hint="llm-pool infer --json  prints the request_id of an answer",
    )


def _remember(tenant_id: str, answer: Answer, task: Task) -> Remembered:
    from llm_pool.ensemble.weighted import lesson

    judge = answer.decision.judge or {}
    right = tuple(name for name, word in judge.items() if word.get(answer.winner) == max(word.values()))
    return Remembered(answer.request_id, lesson(task, answer.decision), right, tenant_id)

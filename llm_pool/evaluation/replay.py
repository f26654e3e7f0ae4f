"""
Deciding anew: the pool itself, composed as for anybody, on backends that say again what was recorded.

It runs on virtual time, one question after the other, so that hedges, deadlines and queues are those of the
configuration and a day of answers is decided in seconds. Nobody is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from llm_pool import agreement
from llm_pool.core.errors import AllProvidersFailed, DeadlineExceeded, LlmPoolError, NoConsensus
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine import PoolState, open_app
from llm_pool.ensemble.attempts import JUDGED
from llm_pool.evaluation.settings import for_deciding
from llm_pool.evaluation.tape import ReplayedProvider, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.core.interfaces import Member
    from llm_pool.core.messages import Answer, Attempt, Call, Reading
    from llm_pool.evaluation.answers import Answers
    from llm_pool.evaluation.questions import Question
    from llm_pool.providers.transport import Transport
    from llm_pool.trust.model import Trust

PAUSE: Final = 1.0
"""Virtual seconds between two questions: the hedge budget is that of one person who asks."""


class Outcome(NamedTuple):
    """
    What became of one question under one strategy, or with one model.

    Attributes:
        reading: the answer; None where there is none.
        winner: whose it is.
        calls: requests to backends, a judge's among them.
        seconds: to the answer, or to the error.
        tokens: of the answer, as its backend counted them; None where it did not.
        agreement: as in the decision.
        is_agreed: CONSENSUS found one.
    """

    reading: Reading | None
    winner: str
    calls: int
    seconds: float
    tokens: int | None
    agreement: float | None
    is_agreed: bool


class Read(NamedTuple):
    """One question with the answers of all its models, read under the configured deadline: what trust learns from."""

    question: Question
    call: Call
    panel: tuple[Member, ...]
    attempts: tuple[Attempt, ...]


class Replayer:
    """
    Decides the questions of one task.

    Args:
        config: the person's.
        answers: on record for all of the questions and providers.
        questions: of one task.
        providers: names, in the file's order.
        deadline: seconds; None: the task's own.
    """

    def __init__(
        self,
        config: Config,
        answers: Answers,
        questions: Sequence[Question],
        providers: Sequence[str],
        *,
        deadline: float | None = None,
    ) -> None:
        judges = dict.fromkeys(judge for question in questions for judge in answers.judges(question.id))
        self._config = for_deciding(config, tuple(judges))
        self._answers, self._questions, self._providers = answers, tuple(questions), tuple(providers)
        self._deadline, self._same, self._number = deadline, dict[str, dict[str, int]](), 0

    async def read(self) -> tuple[dict[str, list[Outcome]], list[Read]]:
        """Each model alone: its outcomes by its name, and every question with all its answers."""
        config = msgspec.structs.replace(
            self._config, ensemble=msgspec.structs.replace(self._config.ensemble, disabled=())
        )
        outcomes: dict[str, list[Outcome]] = {name: [] for name in self._providers}
        read: list[Read] = []
        async with open_app(config, build=self._build) as app:
            for question in self._questions:
                plan = await app.orchestrator.plan(self._query(question, self._providers, StrategyName.FASTEST))
                attempts: list[Attempt] = []
                for name in self._providers:
                    query = self._query(question, (name,), StrategyName.FASTEST)
                    outcome, made = await _asked(app.orchestrator.infer, query)
                    outcomes[name].append(outcome)
                    attempts += made[-1:]
                self._same[question.id] = _same_texts(plan.call, attempts)
                read.append(Read(question, plan.call, plan.panel.regular, tuple(attempts)))
        return outcomes, read

    async def decide(self, strategy: StrategyName, trust: Trust, places: Sequence[int]) -> dict[int, Outcome]:
        """What *strategy* decides on the questions at *places* with what *trust* has learned; after ``read``."""
        state = await PoolState.create(self._config, lambda _: None)
        outcomes = {}
        async with open_app(
            self._config, build=self._build, pool_state=msgspec.structs.replace(state, trust=trust)
        ) as app:
            for place in places:
                query = self._query(self._questions[place], self._providers, strategy)
                outcomes[place], _ = await _asked(app.orchestrator.infer, query)
                await asyncio.sleep(PAUSE)
        await state.aclose()
        return outcomes

    def _query(self, question: Question, providers: Sequence[str], strategy: StrategyName) -> Query:
        self._number += 1
        return Query(
            prompt=question.prompt,
            task=question.task,
            request_id=f"{self._number}:{question.id}",
            strategy=strategy,
            providers=tuple(providers),
            deadline=self._deadline,
            no_cache=True,
        )

    def _build(self, settings: ProviderSettings, _transport: Transport, /, *, path: Path) -> ReplayedProvider:  # noqa: ARG002  # the seam's
        return ReplayedProvider(settings.name, settings.model, self._answers, self._same)


async def _asked(infer: Callable[[Query], Awaitable[Answer]], query: Query) -> tuple[Outcome, Sequence[Attempt]]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        answer = await infer(query)
    except NoConsensus as error:
        decision = error.decision
        return _no_answer(loop.time() - began, decision.attempts, decision.agreement), decision.attempts
    except (AllProvidersFailed, DeadlineExceeded) as error:
        return _no_answer(loop.time() - began, error.attempts, None), error.attempts
    except LlmPoolError:
        return _no_answer(loop.time() - began, (), None), ()
    decision = answer.decision
    won = decision.winning_attempt
    outcome = Outcome(
        reading=decision.reading,
        winner=decision.winner,
        calls=_calls(decision.attempts),
        seconds=answer.duration,
        tokens=None if won is None else won.usage.completion_tokens,
        agreement=decision.agreement,
        is_agreed=decision.used is StrategyName.CONSENSUS,
    )
    return outcome, decision.attempts


def _no_answer(seconds: float, attempts: Sequence[Attempt], agreed: float | None) -> Outcome:
    return Outcome(None, "", _calls(attempts), seconds, None, agreed, is_agreed=False)


def _calls(attempts: Sequence[Attempt]) -> int:
    return sum(attempt.outcome != "refused" for attempt in attempts)


def _same_texts(call: Call, attempts: Sequence[Attempt]) -> dict[str, int]:
    """The number of each answer's text: one for all that say the same."""
    readings = [a.reading for a in attempts if a.reading is not None and a.why != JUDGED]
    keys = [agreement.key(call.task, reading, call.input) for reading in readings]
    return {text_of(readings[i]): number for number, group in enumerate(agreement.grouped(keys)) for i in group}

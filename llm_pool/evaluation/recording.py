"""
Asking: every provider once for each question, machine by machine, and a judge where they disagree.

On each machine as many questions are under way as it has slots, and one model's questions come before the next one's,
so that a machine that holds one model loads each of them once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from llm_pool.core.errors import (
    AllProvidersFailed,
    BreakerOpen,
    Busy,
    InvalidRequest,
    LlmPoolError,
    Loading,
    OutOfResources,
    ProviderError,
    QueueFull,
    TimedOut,
    Unreachable,
)
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine import open_app
from llm_pool.evaluation.answers import AskedQuestion, Failure, Grade, RecordedAnswer, RecordedVerdict
from llm_pool.evaluation.grading import GRADE_SCHEMA, grading_prompt, said_right
from llm_pool.evaluation.settings import for_asking
from llm_pool.evaluation.tape import RecordingProvider, ReplayedProvider, candidate_text, question_id
from llm_pool.providers.registry import build_provider
from llm_pool.tasks import JUDGING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from llm_pool.config import Config, ProviderSettings
    from llm_pool.core.interfaces import Provider
    from llm_pool.core.messages import Attempt, Call
    from llm_pool.engine import App
    from llm_pool.evaluation.answers import Answers, Line
    from llm_pool.evaluation.questions import Question
    from llm_pool.evaluation.tape import Heard
    from llm_pool.providers.transport import Transport

GIVE_UP_AFTER: Final = 3
"""Failures in a row of a provider that has not answered yet, after which it is not asked any more."""
PASSING: Final = frozenset(kind.kind for kind in (Unreachable, Busy, QueueFull, Loading, OutOfResources, BreakerOpen))
"""Failures that say nothing of the model: the question is asked again the next time."""


class Keep(Protocol):
    """Where lines go; ``AnswersWriter.write`` is one."""

    def __call__(self, lines: Iterable[Line], /) -> None:
        """Keep *lines*; raises OSError."""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """
    How to ask.

    Attributes:
        config: the person's.
        providers: names of the only ones to ask; empty: those that serve each task.
        patience: seconds for each answer.
        retry_failed: ask again where a failure is on record.
    """

    config: Config
    providers: tuple[str, ...] = ()
    patience: float = 120.0
    retry_failed: bool = False


class Missed(msgspec.Struct, kw_only=True):
    """What could not be asked: how many questions of a provider, and the last reason."""

    questions: int = 0
    reason: str = ""


class _Job(msgspec.Struct, frozen=True):
    """One question for one provider."""

    provider: str
    question: Question
    asked: str


class Recorder:
    """
    Asks, and keeps what was said as it comes.

    Args:
        asking: how.
        answers: what is on record already; what is new comes to it.
        keep: takes each line, off the event loop.
    """

    def __init__(self, asking: Asking, answers: Answers, keep: Keep) -> None:
        self._asking, self._answers, self._keep = asking, answers, keep
        self._config = for_asking(asking.config, asking.patience)
        self._settings = {one.name: one for one in self._config.active_providers}
        self._heard: dict[tuple[str, str], Heard] = {}
        self._verdicts: dict[str, list[RecordedVerdict]] = {}
        self._writing = asyncio.Lock()
        self._number = 0
        self.missed: dict[str, Missed] = {}

    async def ask(self, questions: Sequence[Question], progress: Callable[[int, int], None]) -> None:
        """
        Ask *questions* of every provider that has not answered them.

        Raises:
            InvalidRequest: one of them cannot be asked as it stands.
            LlmPoolError: no provider answered anything.
            OSError: a line could not be kept.
        """
        async with open_app(self._config, build=self._recording) as app:
            jobs = [job for question in questions for job in await self._jobs(app, question)]
            new = [AskedQuestion(question=q) for q in questions if self._answers.questions.get(q.id) != q]
            await self._write(new)
            done, last = _Counter(progress, len(jobs)), _LastError()
            await self._on_machines(app, jobs, lambda job: self._ask(app, job, last), done)
        if last.error is not None and not self._answers.answers:
            raise last.error

    async def judge(self, questions: Sequence[Question], progress: Callable[[int, int], None]) -> None:
        """Have the answers to *questions* judged where they differ, as JUDGE would, and were not judged yet."""
        todo = [q for q in questions if self._is_unjudged(q)]
        async with open_app(self._config, build=self._judged) as app:
            jobs = [_Job(self._judge_of(question), question, "") for question in todo if self._answered(question)]
            done = _Counter(progress, len(jobs))
            await self._on_machines(app, jobs, lambda job: self._hear_judge(app, job), done)

    async def grade(self, questions: Sequence[Question], judge: str, progress: Callable[[int, int], None]) -> None:
        """Have *judge* say of each answer whether it is right; raises InvalidRequest if there is no such provider."""
        if judge not in self._settings:
            raise InvalidRequest("--judge", f"there is no provider '{judge}'", hint=", ".join(self._settings))
        wanted = {question.id: question for question in questions}
        async with open_app(self._config, build=self._recording) as app:
            jobs = [
                (_Job(judge, wanted[question], answer.asked), answer)
                for question in wanted
                for answer in self._answers.of(question).values()
                if answer.failure is None and self._is_ungraded(answer, judge)
            ]
            done, by_job = _Counter(progress, len(jobs)), {id(job): answer for job, answer in jobs}
            await self._on_machines(app, [j for j, _ in jobs], lambda job: self._grade(app, job, by_job[id(job)]), done)

    # The questions for each provider

    async def _jobs(self, app: App, question: Question) -> list[_Job]:
        query = self._query(question, providers=self._asking.providers)
        try:
            plan = await app.orchestrator.plan(query)
        except InvalidRequest as error:
            raise InvalidRequest(f"question {question.id}: {error.field}", error.reason, hint=error.hint) from None
        members = sorted(plan.panel.regular, key=lambda member: member.rank)
        if not members:
            raise InvalidRequest(
                f"question {question.id}",
                f"no provider but a last resort serves task '{question.task}'",
                hint="--provider NAME  asks one of last resort too",
            )
        jobs = [_Job(m.name, question, fingerprint(plan.call, self._settings[m.name])) for m in members]
        return [job for job in jobs if not self._is_answered(job)]

    def _is_answered(self, job: _Job) -> bool:
        known = self._answers.of(job.question.id).get(job.provider)
        if known is None or known.asked != job.asked:
            return False
        return known.failure is None or not self._asking.retry_failed

    def _query(self, question: Question, *, providers: Sequence[str], **more: object) -> Query:
        self._number += 1
        query = Query(
            prompt=question.prompt,
            task=question.task,
            request_id=f"{self._number}:{question.id}",
            deadline=self._asking.patience,
            no_cache=True,
            strategy=StrategyName.FASTEST,
            providers=tuple(providers),
        )
        return msgspec.structs.replace(query, **more)

    async def _on_machines(
        self, app: App, jobs: Sequence[_Job], work: Callable[[_Job], Awaitable[None]], done: _Counter
    ) -> None:
        """*work* on each of *jobs*: on every machine as many at once as it has slots, one provider after the other."""
        machines: dict[str, dict[str, deque[_Job]]] = {}
        for job in jobs:
            machine = self._settings[job.provider].machine
            machines.setdefault(machine, {}).setdefault(job.provider, deque()).append(job)
        slots = {gate.group: gate.slots for gate in app.machines.gates}

        async def worker(waiting: deque[_Job]) -> None:
            while waiting:
                await work(waiting.popleft())
                done.step()

        try:
            async with asyncio.TaskGroup() as group:
                for name, by_provider in machines.items():
                    waiting = deque(job for mine in by_provider.values() for job in mine)
                    for _ in range(min(slots.get(name, 1), len(waiting))):
                        group.create_task(worker(waiting))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the first that failed ended the others

    # Asking

    async def _ask(self, app: App, job: _Job, last: _LastError) -> None:
        missed = self.missed.get(job.provider)
        if missed is not None and missed.questions >= GIVE_UP_AFTER and not last.has_answered(job.provider):
            missed.questions += 1
            return
        query, error = self._query(job.question, providers=(job.provider,)), None
        try:
            await app.orchestrator.infer(query)
        except LlmPoolError as raised:
            error = last.error = raised
        heard = self._heard.pop((query.request_id, job.provider), None)
        line = _recorded(job, self._settings[job.provider], heard, error)
        if line.failure is not None and line.failure.kind in PASSING:
            missed = self.missed.setdefault(job.provider, Missed())
            missed.questions, missed.reason = missed.questions + 1, line.failure.reason
            return
        last.note(job.provider)
        await self._write([line])

    def _recording(self, settings: ProviderSettings, transport: Transport, /, *, path: Path) -> Provider:
        return RecordingProvider(build_provider(settings, transport, path=path), self._hear)

    def _hear(self, provider: str, heard: Heard) -> None:
        self._heard[heard.call.request_id, provider] = heard

    # Judging

    def _judged(self, settings: ProviderSettings, transport: Transport, /, *, path: Path) -> Provider:
        bare = build_provider(settings, transport, path=path)
        judge = RecordingProvider(bare, self._hear_verdict)
        return ReplayedProvider(settings.name, settings.model, self._answers, {}, hurry=True, judge=judge)

    def _hear_verdict(self, judge: str, heard: Heard) -> None:
        if heard.is_whole or heard.error is not None:
            self._verdicts.setdefault(heard.call.request_id, []).append(
                _verdict(judge, heard, answers_fingerprint(self._answers, question_id(heard.call)))
            )

    def _is_unjudged(self, question: Question) -> bool:
        given = self._answers.verdicts.get(question.id, [])
        return not given or given[0].asked != answers_fingerprint(self._answers, question.id)

    def _judge_of(self, question: Question) -> str:
        """The machine that will be busy: the configured judge's, else that of the heaviest who answered."""
        configured = [name for name in self._config.judge.providers if name in self._settings]
        names = self._answered(question)
        return configured[0] if configured else max(names, key=lambda name: self._settings[name].weight)

    def _answered(self, question: Question) -> list[str]:
        return [name for name in self._settings if name in self._answers.of(question.id)]

    async def _hear_judge(self, app: App, job: _Job) -> None:
        query = self._query(job.question, providers=self._answered(job.question), strategy=StrategyName.JUDGE)
        with suppress(LlmPoolError):  # nobody's answer was valid: there is nothing to judge
            await app.orchestrator.infer(query)
        verdicts = self._verdicts.pop(query.request_id, [])
        passing = [v for v in verdicts if v.failure is not None and v.failure.kind in PASSING]
        if passing:
            missed = self.missed.setdefault(passing[-1].judge, Missed())
            missed.questions += 1
            missed.reason = passing[-1].failure.reason if passing[-1].failure else ""
            return
        await self._write(verdicts)

    # Grading

    def _is_ungraded(self, answer: RecordedAnswer, judge: str) -> bool:
        known = self._answers.grades.get((answer.question, answer.provider, judge))
        return known is None or known.asked != graded_fingerprint(answer)

    async def _grade(self, app: App, job: _Job, answer: RecordedAnswer) -> None:
        query = self._query(
            job.question,
            providers=(job.provider,),
            task="ask",
            prompt=grading_prompt(job.question.prompt, answer.text),
            output_schema=GRADE_SCHEMA,
            temperature=0.0,
            think=False,
        )
        try:
            right = said_right((await app.orchestrator.infer(query)).json)
        except LlmPoolError as error:
            missed = self.missed.setdefault(job.provider, Missed())
            missed.questions, missed.reason = missed.questions + 1, str(error).splitlines()[-1].strip()
            return
        finally:
            self._heard.pop((query.request_id, job.provider), None)
        grade = Grade(
            question=answer.question,
            provider=answer.provider,
            judge=job.provider,
            asked=graded_fingerprint(answer),
            right=right,
        )
        await self._write([grade])

    async def _write(self, lines: Sequence[Line]) -> None:
        """Keep *lines*, whole: an interrupt waits for the disk."""
        if not lines:
            return
        async with self._writing:
            writing = asyncio.ensure_future(asyncio.to_thread(self._keep, list(lines)))
            try:
                await asyncio.shield(writing)
            finally:
                await asyncio.wait([writing])
        for line in lines:
            self._answers.add(line)


class _Counter:
    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total
        progress(0, total)

    def step(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)


class _LastError:
    """The last error, and who has answered."""

    def __init__(self) -> None:
        self.error: LlmPoolError | None = None
        self._answered: set[str] = set()

    def note(self, provider: str) -> None:
        self._answered.add(provider)

    def has_answered(self, provider: str) -> bool:
        return provider in self._answered


def fingerprint(call: Call, settings: ProviderSettings) -> str:
    """What decides what a model may answer: the model, its prompt and its options. Twelve hexadecimal digits."""
    asked = (
        settings.driver.value,
        settings.model,
        settings.prompt_variant,
        settings.think,
        settings.extra_body,
        settings.context,
        call.task.version,
        call.prompt,
        call.schema,
        call.max_tokens,
        call.temperature,
        call.think,
        call.seed,
        call.stop,
    )
    return _digest(msgspec.json.encode(asked, order="sorted"))


def answers_fingerprint(answers: Answers, question: str) -> str:
    """What a judge's word on *question* is about: all answers on record."""
    said = sorted((name, one.asked, one.text) for name, one in answers.of(question).items())
    return _digest(msgspec.json.encode(said))


def graded_fingerprint(answer: RecordedAnswer) -> str:
    """What a grade is about."""
    return _digest(f"{answer.asked}\0{answer.text}".encode("utf-8", "surrogatepass"))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=6).hexdigest()


def _recorded(job: _Job, settings: ProviderSettings, heard: Heard | None, error: LlmPoolError | None) -> RecordedAnswer:
    bare = RecordedAnswer(question=job.question.id, provider=job.provider, model=settings.model, asked=job.asked)
    if heard is None:
        return msgspec.structs.replace(bare, failure=_failure(error))
    return msgspec.structs.replace(
        bare,
        text=heard.text,
        reasoning=heard.reasoning,
        ttft=heard.ttft,
        duration=round(heard.duration, 6),
        prompt_tokens=heard.usage.prompt_tokens,
        completion_tokens=heard.usage.completion_tokens,
        finish=heard.finish,
        failure=None if heard.is_whole else _failure(heard.error or error),
    )


def _failure(error: LlmPoolError | None) -> Failure:
    """Why there is no whole answer; an end without any error of the backend's is that of our patience."""
    if isinstance(error, ProviderError):
        return Failure(error.kind, str(error))
    attempts: Sequence[Attempt] = error.attempts if isinstance(error, AllProvidersFailed) else ()
    if attempts and attempts[-1].error_kind:
        return Failure(attempts[-1].error_kind, attempts[-1].error)
    return Failure(
        TimedOut.kind, "no whole answer in the time there was" if error is None else str(error).split("\n")[0]
    )


def _verdict(judge: str, heard: Heard, asked: str) -> RecordedVerdict:
    call = heard.call
    assert call.task.name == JUDGING.name
    return RecordedVerdict(
        question=question_id(call),
        judge=judge,
        asked=asked,
        candidates=tuple(candidate_text(one["text"]) for one in call.input["candidates"]),
        text=heard.text,
        logprobs=heard.logprobs,
        in_schema=call.schema is not None,
        duration=round(heard.duration, 6),
        completion_tokens=heard.usage.completion_tokens,
        failure=None if heard.error is None else _failure(heard.error),
    )

"""
JUDGE: candidates first, then a model picks, and its word is weighed.

::

    ├──────── share of the deadline: candidates ────────┤── the rest: the judge ──┤
    gather ─▶ drop invalid and degenerate ─▶ one group? no judge ─▶ ask for one letter ─▶ close call and time left?
                                                                         │ no letter        or a bare letter?
                                                                         └▶ ask with a schema  ask again, swapped
    a judge that picks another one when the order is swapped has said nothing: trust in the authors decides
    weigh the words with the trust in the authors (``verdict.posterior``) ─▶ the most probable wins
    judge failed, late or unreadable ─▶ the fallback strategy decides on the same candidates, and the decision says so
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.agreement import evidence
from llm_pool.agreement.texts import is_degenerate
from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.messages import Cluster, Decision, StrategyName
from llm_pool.ensemble.attempts import DECISION_MARGIN, JUDGED, AttemptGroup
from llm_pool.ensemble.ballots import group_by_answer, quorum, quorum_lost
from llm_pool.ensemble.excerpts import fitted, room_for
from llm_pool.ensemble.stragglers import Stragglers, endless, is_enough, with_suspects
from llm_pool.ensemble.verdict import (
    CLOSE_CALL,
    LETTERS,
    JudgeVerdict,
    averaged,
    chosen_letter,
    contradict,
    judging_input,
    judging_prompt,
    letter_probabilities,
    posterior,
    undecided,
)
from llm_pool.tasks import JUDGING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from random import Random

    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Json, Reading, Task, ToolCall
    from llm_pool.ensemble.excerpts import Shown
    from llm_pool.ensemble.stragglers import Patience

MAX_CANDIDATES = 4
"""Groups shown to a judge at most: beyond, small judges read places, not answers."""


class Decider(Protocol):
    """A strategy that can also decide on candidates that are already there."""

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], /) -> Decision:
        """The decision on *attempts*; raises AllProvidersFailed if none is valid."""


class TrustSource(Protocol):
    """What is known of who may be trusted."""

    def of(self, tenant_id: str) -> TrustSource:
        """What is known to that tenant."""

    def vote(self, member: Member, task: str, traits: Iterable[str] = ()) -> float:
        """What an answer of *member* on *task* counts, > 0, given the *traits* seen in it."""

    def accuracy(self, judge: Member, task: str) -> float:
        """How often *judge* prefers the better one of two candidates on *task*, in (0, 1)."""


class JudgeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """
    What judges may spend.

    Attributes:
        share: part of the deadline that the candidates may use.
        time: seconds the judges may take at most.
        max_tokens: tokens of a verdict in a schema; a letter costs one.
    """

    share: float = 0.7
    time: float = 0.7
    max_tokens: int = 128


class _CandidateGroup(msgspec.Struct, frozen=True):
    """Candidates that say the same, told by the most trusted of them."""

    representative: Attempt
    authors: tuple[str, ...]
    prior: float


class Judge:
    """
    Candidates, then a verdict.

    Args:
        clock: the time.
        rng: for fences and orders; a cryptographic one outside of tests.
        limits: what they may spend.
        trust: trust in authors and judges.
        judges: for a panel, the models that may judge it, as they are now, in the order of preference.
        fallback: decides when no judge does.
        load_task: that of the question put to a judge, with its variants; None: JUDGING, which has none.
        patience: how long an author's silence is borne.
        learned: a judge with what is known of its context.
    """

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        limits: JudgeLimits,
        trust: TrustSource,
        *,
        judges: Callable[[Sequence[Member]], Sequence[Member]],
        fallback: Decider,
        load_task: Callable[[], Awaitable[Task]] | None = None,
        patience: Patience = endless,
        learned: Callable[[Member], Awaitable[Member]] | None = None,
    ) -> None:
        self._learned = learned
        self._clock, self._rng, self._limits = clock, rng, limits
        self._trust, self._judges, self._fallback = trust, judges, fallback
        self._load_task, self._patience = load_task, patience

    async def run(self, call: Call, panel: Sequence[Member], emit: Emit) -> Decision:
        """Gather candidates from *panel* and have them judged; raises AllProvidersFailed."""
        attempts, silent = await self._candidates(call, panel, emit)
        decision = await self.judge(call, with_suspects(panel, silent), attempts, emit)
        return _with_missing(decision, panel, attempts)

    async def judge(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], emit: Emit) -> Decision:
        """Have *attempts* judged in the time that is left; raises AllProvidersFailed if none is valid."""
        groups = self._groups(call, panel, attempts)
        if len(groups) == 1:
            return self._decision(attempts, groups, [1.0], f"the judge was not needed: {_single_reason(groups[0])}")
        judges = select_judges(self._judges(panel), panel, {name for group in groups for name in group.authors})
        if self._learned is not None:
            judges = tuple(await asyncio.gather(*map(self._learned, judges)))
        task = JUDGING if self._load_task is None else await self._load_task()
        answers = [_reading(group) for group in groups]
        judging_round = _JudgingRound(self._clock, self._rng, self._limits, task, call, answers, emit)
        verdicts = await judging_round.collect(judges)
        if not verdicts:
            return self._fall_back(call, panel, attempts, judging_round)
        attempts = (*attempts, *judging_round.attempts)
        trust = self._trust.of(call.tenant_id)
        accuracy = {judge.name: trust.accuracy(judge, call.task.name) for judge in judges}
        chances = posterior([group.prior for group in groups], verdicts, accuracy)
        decision = self._decision(attempts, groups, chances, _reason(groups, chances, verdicts))
        evidence = {
            judge: {group.representative.provider: round(p, 4) for group, p in zip(groups, verdict, strict=True)}
            for judge, verdict in verdicts.items()
        }
        return msgspec.structs.replace(decision, judge=evidence, notes=tuple(judging_round.notes))

    def decide(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
        """The fallback's decision on *attempts*, as there is no time to ask a judge; raises AllProvidersFailed."""
        decision = self._fallback.decide(call, panel, attempts)
        note = f"no time for a judge: {decision.used} decided on the same candidates"
        return msgspec.structs.replace(decision, asked=StrategyName.JUDGE, notes=(*decision.notes, note))

    async def _candidates(
        self, call: Call, panel: Sequence[Member], emit: Emit
    ) -> tuple[tuple[Attempt, ...], frozenset[str]]:
        """
        What the panel wrote in the candidates' share, and who was silent; beyond it, only a first valid one is awaited.

        Whoever is silent for too long is not waited for, once there are candidates of more than half of the panel.
        """
        until = candidates_until(self._clock.now(), call.deadline, self._limits)
        async with AttemptGroup(emit) as attempt_group:
            stragglers = Stragglers(call, panel, attempt_group, self._patience)
            for member in panel:
                attempt_group.start(member, call, why="candidate")
            while attempt_group.running:
                now = self._clock.now()
                valid = sum(attempt.outcome == "ok" for attempt in attempt_group.attempts)
                late = stragglers.at(now)
                only = len(late) == len(attempt_group.running)
                if (valid and now >= until) or (only and is_enough(valid, quorum(len(panel)), late)):
                    break
                await attempt_group.next(min(until, stragglers.next_at(now)) if valid else None)
            silent = frozenset(member.name for member in stragglers.at(self._clock.now()))
        return attempt_group.attempts, silent

    def _groups(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> list[_CandidateGroup]:
        """The distinct candidates, most trusted first."""
        valid = [attempt for attempt in attempts if attempt.reading is not None]
        if not valid:
            raise AllProvidersFailed(call.task.name, attempts)
        sound = [a for a in valid if a.reading is not None and not is_degenerate(a.reading.shown)] or valid
        votes = self._votes(call, panel, sound)
        rank = {member.name: member.rank for member in panel}
        groups = []
        for alike in group_by_answer(call, sound):
            representative = max(alike, key=lambda a: (votes[a.provider], -rank[a.provider]))
            groups.append(
                _CandidateGroup(representative, tuple(a.provider for a in alike), sum(votes[a.provider] for a in alike))
            )
        groups.sort(key=lambda group: (-group.prior, rank[group.representative.provider]))
        return groups[:MAX_CANDIDATES]

    def _votes(self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt]) -> dict[str, float]:
        """
        What each author's word counts before a judge spoke, as in WEIGHTED.

        Never negative: two unsure authors that agree are worth more than one.
        """
        members = {member.name: member for member in panel}
        trust = self._trust.of(call.tenant_id)
        return {
            a.provider: trust.vote(members[a.provider], call.task.name, evidence(call.task, a.reading))
            for a in attempts
            if a.reading is not None
        }

    def _decision(
        self, attempts: Sequence[Attempt], groups: Sequence[_CandidateGroup], chances: Sequence[float], reason: str
    ) -> Decision:
        best = max(range(len(groups)), key=lambda index: (chances[index], -index))
        representative = groups[best].representative
        assert representative.reading is not None
        asked = {attempt.provider for attempt in attempts if attempt.why != JUDGED}
        return Decision(
            asked=StrategyName.JUDGE,
            used=StrategyName.JUDGE,
            winner=representative.provider,
            model=representative.model,
            reading=representative.reading,
            reason=reason,
            attempts=tuple(attempts),
            scores={name: round(p, 4) for group, p in zip(groups, chances, strict=True) for name in group.authors},
            clusters=tuple(
                Cluster(group.authors, round(p, 4), label=_reading(group).shown[:80])
                for group, p in zip(groups, chances, strict=True)
            ),
            agreement=len(groups[best].authors) / len(asked),
        )

    def _fall_back(
        self, call: Call, panel: Sequence[Member], attempts: Sequence[Attempt], judging_round: _JudgingRound
    ) -> Decision:
        decision = self._fallback.decide(call, panel, attempts)  # without what the judges said: it is no candidate
        return msgspec.structs.replace(
            decision,
            asked=StrategyName.JUDGE,
            attempts=(*attempts, *judging_round.attempts),
            notes=(
                *decision.notes,
                *judging_round.notes,
                f"no verdict: {decision.used} decided on the same candidates",
            ),
        )


def candidates_until(now: float, deadline: float, limits: JudgeLimits) -> float:
    """The instant at which the candidates' time ends: the judges get the rest of the share, and no more than theirs."""
    return deadline - DECISION_MARGIN - min((1 - limits.share) * (deadline - now), limits.time)


def select_judges(judges: Sequence[Member], panel: Sequence[Member], authors: set[str]) -> tuple[Member, ...]:
    """
    The judges to ask.

    A judge that is silent is asked only where there is no other. One that wrote no candidate goes before one that would
    judge itself. Where none of them is awake and loaded but a member of the panel on the same machine is, that member
    judges: loading a model would cost more than the verdict is worth, and evict a member.
    """
    silent = {member.name for member in panel if member.suspect}
    awake = tuple(judge for judge in judges if judge.name not in silent) or tuple(judges)
    neutral = tuple(judge for judge in awake if judge.name not in authors) or awake
    ready = tuple(judge for judge in neutral if judge.loaded and judge.name not in silent)
    if ready:
        return ready
    machines = {judge.group for judge in neutral}
    stand_ins = [m for m in panel if m.loaded and m.group in machines and not m.suspect]
    return (max(stand_ins, key=lambda member: (member.weight, -member.rank)),) if stand_ins else neutral


class _JudgingRound:
    """One panel of judges over one set of candidates."""

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        limits: JudgeLimits,
        task: Task,
        call: Call,
        answers: Sequence[Reading],
        emit: Emit,
    ) -> None:
        self._clock, self._rng, self._limits, self._task = clock, rng, limits, task
        self._call, self._answers, self._emit = call, answers, emit
        self._until = min(call.deadline - DECISION_MARGIN, clock.now() + limits.time)
        self.attempts: list[Attempt] = []
        self.notes: list[str] = []

    async def collect(self, judges: Sequence[Member]) -> dict[str, tuple[float, ...]]:
        """The word of each judge that gave one in time, by its name."""
        async with asyncio.TaskGroup() as group:
            tasks = {judge.name: group.create_task(self._verdict(judge)) for judge in judges}
        verdicts = {name: task.result() for name, task in tasks.items()}
        return {name: verdict for name, verdict in verdicts.items() if verdict is not None}

    async def _verdict(self, judge: Member) -> tuple[float, ...] | None:
        order = list(range(len(self._answers)))
        self._rng.shuffle(order)
        began = self._clock.now()
        ask = self._letter
        first = await ask(judge, order)
        if first is None:
            ask = self._by_schema
            first = await ask(judge, order)
        if first is None:
            self.notes.append(f"judge {judge.name} gave no usable verdict")
            return None
        if not first.is_bare and max(first.probabilities) >= CLOSE_CALL:
            return first.probabilities
        spent = self._clock.now() - began
        in_time = self._clock.now() + 1.5 * spent < self._until
        second = await ask(judge, order[::-1]) if in_time else None
        if second is None:
            self.notes.append(f"judge {judge.name} was asked in one order only: no time for another")
            return first.probabilities
        return self._agreed(first, msgspec.structs.replace(second, swapped=True))

    def _agreed(self, first: JudgeVerdict, second: JudgeVerdict) -> tuple[float, ...]:
        """One judge's word after both orders."""
        if contradict([first, second]):
            self.notes.append(f"judge {first.judge} chose another one in swapped order: trust in the authors decides")
            return undecided(len(first.probabilities))
        why = "it gives a letter alone" if first.is_bare else "a close call"
        self.notes.append(f"judge {first.judge} was asked twice, in swapped order: {why}")
        return averaged([first, second])

    async def _letter(self, judge: Member, order: Sequence[int]) -> JudgeVerdict | None:
        """One token: the letter, or better the probabilities behind it."""
        attempt = await self._ask(judge, order, schema=None, max_tokens=1)
        if attempt is None:
            return None
        read = letter_probabilities(attempt.logprobs, order)
        if read is not None:
            return JudgeVerdict(judge.name, read)
        return _bare(judge, chosen_letter(attempt.reading.content, order) if attempt.reading is not None else None)

    async def _by_schema(self, judge: Member, order: Sequence[int]) -> JudgeVerdict | None:
        """The letter inside JSON, for models that cannot answer in one token."""
        letters = list(LETTERS[: len(order)])
        schema = {
            "type": "object",
            "properties": {"best": {"type": "string", "enum": letters}},
            "required": ["best"],
            "additionalProperties": False,
        }
        attempt = await self._ask(judge, order, schema=schema, max_tokens=self._limits.max_tokens)
        if attempt is None or attempt.reading is None:
            return None
        return _bare(judge, chosen_letter(attempt.reading.value["best"], order))

    async def _ask(
        self, judge: Member, order: Sequence[int], *, schema: dict[str, object] | None, max_tokens: int
    ) -> Attempt | None:
        """One question to *judge*; None when it is too late to ask or no answer came in time."""
        if self._clock.now() >= self._until:
            return None
        fence = f"{self._rng.getrandbits(40):010x}"
        shown = self._shown_to(judge)
        question = msgspec.structs.replace(
            self._call,
            task=self._task,
            input=self._contest(shown, order),
            prompt=judging_prompt(shown.question, shown.candidates, fence=fence, order=order),
            schema=schema,
            ids=(),
            max_tokens=max_tokens,
            temperature=0.0,
            deadline=self._until,
            stream=False,
            think=False,
            tools=(),
            top_logprobs=0 if schema else 10,
        )
        async with AttemptGroup(self._emit) as attempt_group:
            attempt_group.start(judge, question, why=JUDGED)
            attempt = await attempt_group.next(self._until)
        self.attempts.extend(attempt_group.attempts)
        return attempt

    def _shown_to(self, judge: Member) -> Shown:
        """Question and candidates as far as the judge's context holds them; what was cut is noted."""
        room = room_for(judge.context, self._limits.max_tokens)
        shown = fitted(_question(self._call), [_as_text(one) for one in self._answers], room)
        note = f"judge {judge.name} was shown less, to fit its context: {shown.cut}"
        if shown.cut and note not in self.notes:
            self.notes.append(note)
        return shown

    def _contest(self, shown: Shown, order: Sequence[int]) -> Json:
        """The same as data; whole where nothing had to be cut."""
        if shown.cut:
            return judging_input(shown.question, shown.candidates, order)
        whole = [_as_data(one) for one in self._answers]
        return judging_input(self._call.input, whole, order)


def _question(call: Call) -> str:
    """What was asked, with the names of the tools that could be called."""
    if not call.tools:
        return call.prompt.transcript
    tools = "\n".join(f"{tool.name}: {tool.description}" for tool in call.tools)
    return f"{call.prompt.transcript}\n\nTools that may be called:\n{tools}"


def _as_text(reading: Reading) -> str:
    """*reading* as a judge is shown it: calls as JSON."""
    if not reading.tool_calls:
        return reading.content
    return "\n".join(filter(None, (reading.content, msgspec.json.encode(calls_as_data(reading.tool_calls)).decode())))


def _as_data(reading: Reading) -> Json:
    if reading.tool_calls:
        return calls_as_data(reading.tool_calls)
    return reading.content if reading.value is None else reading.value


def calls_as_data(calls: Sequence[ToolCall]) -> list[Json]:
    """*calls*, whose arguments are whole, as plain data."""
    return [{"name": call.name, "arguments": msgspec.json.decode(call.arguments)} for call in calls]


def _bare(judge: Member, letter: tuple[float, ...] | None) -> JudgeVerdict | None:
    return None if letter is None else JudgeVerdict(judge.name, letter, is_bare=True)


def _with_missing(decision: Decision, panel: Sequence[Member], attempts: Sequence[Attempt]) -> Decision:
    """*decision*, saying so if too few of *panel* wrote a candidate."""
    answered = {attempt.provider for attempt in attempts if attempt.reading is not None}
    missing = tuple(m.name for m in sorted(panel, key=lambda m: m.rank) if m.name not in answered)
    lost = quorum_lost(len(panel), len(missing))
    if not lost:
        return decision
    return msgspec.structs.replace(decision, degraded=True, degraded_reason=lost, missing=missing)


def _reading(group: _CandidateGroup) -> Reading:
    assert group.representative.reading is not None
    return group.representative.reading


def _single_reason(group: _CandidateGroup) -> str:
    return "all candidates say the same" if len(group.authors) > 1 else "there is one candidate"


def _reason(groups: Sequence[_CandidateGroup], chances: Sequence[float], verdicts: dict[str, tuple[float, ...]]) -> str:
    best = max(range(len(groups)), key=lambda index: (chances[index], -index))
    for_it = [judge for judge, verdict in verdicts.items() if verdict[best] == max(verdict) > sorted(verdict)[-2]]
    names = ", ".join(for_it) if for_it else "no judge, but trust in its author"
    return f"{groups[best].representative.provider} is the best with probability {chances[best]:.2f}; chosen by {names}"

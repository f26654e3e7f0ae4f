"""
What the voting strategies share: ballots, and asking no more of the panel than can matter.

::

    each on a machine of its own ─▶ ask all at once
    some share a machine         ─▶ ask n // 2 + 1 first, and one more whenever those asked can no longer decide alone
                                     every answer ─▶ can the rest still change the outcome? no ─▶ cancel it, decide
                                     only stragglers are out (``stragglers``) ─▶ is there a quorum? yes ─▶ likewise
"""

from __future__ import annotations

from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

import msgspec

from llm_pool import agreement
from llm_pool.core.errors import DeadlineExceeded
from llm_pool.ensemble.attempts import DECISION_MARGIN, AttemptGroup
from llm_pool.ensemble.stragglers import Stragglers, endless, is_enough
from llm_pool.tasks import reorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_pool.agreement import Key
    from llm_pool.core.interfaces import Clock, Emit, Member
    from llm_pool.core.messages import Attempt, Call, Reading, Task
    from llm_pool.ensemble.stragglers import Patience


VOTE: Final = "vote"
"""Why these attempts are started."""


class VoteWeights(Protocol):
    """What a vote counts, and what breaks ties."""

    def weigh(self, task: Task, member: Member, reading: Reading | None, /) -> tuple[float, float]:
        """
        How much the vote of *member* counts when it says *reading*, and how far the member is trusted.

        The second decides where votes are equal or cannot be counted. No *reading* asks for the most of both.
        """

    def odds(self, task: Task, member: Member, /) -> float:
        """The odds, > 0, that *member* is right on *task*, whatever it says; by them members can be compared."""


StopRule: TypeAlias = "Callable[[Task, Sequence[Ballot], Sequence[Member], VoteWeights], bool]"
"""Whether ballots decide whatever the members still to be heard will say; ``is_settled`` is one."""


class Ballot(msgspec.Struct, frozen=True):
    """
    One valid answer, with its count and weight on the strategy's scale.

    Attributes:
        odds: that its author is right on the task, whatever it says.
        shown: for a ranking, the ids in the order its author was shown.
    """

    member: Member
    reading: Reading
    key: Key
    count: float
    weight: float
    odds: float
    shown: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The provider's name."""
        return self.member.name


class BallotGroup(msgspec.Struct, frozen=True):
    """Ballots that say the same, the one to quote first; *count* and *weight* are their sums."""

    ballots: tuple[Ballot, ...]
    count: float
    weight: float

    @property
    def names(self) -> tuple[str, ...]:
        """Its providers, in the order of the file."""
        return tuple(ballot.name for ballot in sorted(self.ballots, key=lambda ballot: ballot.member.rank))


class Poll(NamedTuple):
    """
    What asking brought.

    Attributes:
        unasked: members that did not have to be asked.
        timed_out: the deadline ended it.
        equal: for the key of an answer, that of another one which more than the rules found equal to it.
        stragglers: members that were asked and not waited for.
    """

    attempts: tuple[Attempt, ...]
    unasked: tuple[str, ...] = ()
    timed_out: bool = False
    equal: Mapping[Key, Key] = MappingProxyType({})
    stragglers: tuple[str, ...] = ()

    @property
    def saved(self) -> int:
        """Calls that early stopping made unnecessary: not made, or called off."""
        return 0 if self.timed_out else len(self.unasked) + len(self.called_off)

    @property
    def called_off(self) -> frozenset[str]:
        """Members whose answer could not change anything any more; nobody, where the deadline ended it."""
        cancelled = frozenset(a.provider for a in self.attempts if a.outcome == "cancelled")
        return frozenset() if self.timed_out else cancelled.difference(self.stragglers)


def valid_ballots(
    call: Call,
    panel: Sequence[Member],
    attempts: Sequence[Attempt],
    vote_weights: VoteWeights,
    equal: Mapping[Key, Key] = MappingProxyType({}),
) -> list[Ballot]:
    """The valid answers among *attempts*, in the order of the file, whatever the order they came in; see ``Poll``."""
    valid = {attempt.provider: attempt for attempt in attempts if attempt.reading is not None}
    ballots = []
    for member in sorted(panel, key=lambda member: member.rank):
        attempt = valid.get(member.name)
        if attempt is not None and attempt.reading is not None:
            shown = shown_ids(call, member) if attempt.why == VOTE else call.ids
            key, (count, weight) = (
                agreement.key(call.task, attempt.reading, call.input),
                vote_weights.weigh(call.task, member, attempt.reading),
            )
            odds = vote_weights.odds(call.task, member)
            ballots.append(Ballot(member, attempt.reading, equal.get(key, key), count, weight, odds, shown))
    return ballots


def ballot_groups(task: Task, ballots: Sequence[Ballot]) -> list[BallotGroup]:
    """*ballots* by sameness, the winning group first: most votes, then weight, then the earlier provider."""
    found = []
    for group in agreement.grouped([ballot.key for ballot in ballots]):
        same = _by_wording(task, [ballots[i] for i in group])
        found.append(BallotGroup(tuple(same), sum(b.count for b in same), sum(b.weight for b in same)))
    return sorted(
        found, key=lambda ballot_group: _sort_key(ballot_group.count, ballot_group.weight, _rank(ballot_group))
    )


def group_by_answer(call: Call, attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """Valid attempts grouped by what they say."""
    valid = [(attempt, attempt.reading) for attempt in attempts if attempt.reading is not None]
    keys = [agreement.key(call.task, reading, call.input) for _, reading in valid]
    return [[valid[i][0] for i in group] for group in agreement.grouped(keys)]


def is_settled(task: Task, ballots: Sequence[Ballot], pending: Sequence[Member], vote_weights: VoteWeights) -> bool:
    """
    Whether *pending* can no longer change the outcome, even if all of them agreed on another answer.

    Values are counted, so the first group wins once nobody can pass it. Texts and objects are weighed in other ways,
    but no rule overturns more than half of the votes. Every ranking has its say. One thing is not foreseen: ``5`` and
    ``5 km`` agree, and a later ``5 m`` would part them; on recorded answers it never has.
    """
    if not ballots or (pending and task.kind == "ranking"):
        return False
    bounds = [vote_weights.weigh(task, member, None) for member in pending]
    more, heavier = sum(count for count, _ in bounds), sum(weight for _, weight in bounds)
    first, *others = ballot_groups(task, ballots)
    if pending and task.kind != "value":
        return first.count > sum(ballot_group.count for ballot_group in others) + more
    ahead = _sort_key(first.count, first.weight, _rank(first))
    ranks = [member.rank for member in pending]
    rivals = [(ballot_group.count, ballot_group.weight, [_rank(ballot_group)]) for ballot_group in others] + (
        [(0.0, 0.0, [])] if pending else []
    )
    return all(ahead < _sort_key(count + more, weight + heavier, min(own + ranks)) for count, weight, own in rivals)


def quorum(count: int) -> int:
    """More than half of *count*."""
    return count // 2 + 1


def quorum_lost(size: int, missing: int) -> str:
    """What to say of a panel of *size* when too many are *missing*; empty if not. Who was spared is not missing."""
    if size - missing >= quorum(size):
        return ""
    return f"quorum lost: {missing} of {size} gave no valid answer, {quorum(size)} valid ones were needed"


def cheapest_first(panel: Sequence[Member]) -> list[Member]:
    """Suspects last; loaded models first, as loading one may evict another; then by weight; then as in the file."""
    return sorted(panel, key=lambda member: (member.suspect, not member.loaded, -member.weight, member.rank))


def first_wave(panel: Sequence[Member]) -> int:
    """How many to ask at once: all where nobody shares a machine, else the smallest deciding quorum."""
    alone = len({member.group for member in panel}) == len(panel)
    return len(panel) if alone else quorum(len(panel))


def call_for(call: Call, member: Member) -> Call:
    """*call* as *member* gets it: a ranking is asked for with the candidates in an order of the member's own."""
    return reorder(call, _seed(call, member)) if call.task.kind == "ranking" else call


def shown_ids(call: Call, member: Member) -> tuple[str, ...]:
    """The ids in the order that ``call_for`` shows them in."""
    if call.task.kind != "ranking":
        return call.ids
    ids = list(call.ids)
    Random(_seed(call, member)).shuffle(ids)  # noqa: S311  an order, not a secret; the very one of reorder()
    return tuple(ids)


def _seed(call: Call, member: Member) -> str:
    return f"{call.request_id}/{member.name}"


async def poll(
    clock: Clock,
    call: Call,
    panel: Sequence[Member],
    emit: Emit,
    vote_weights: VoteWeights,
    *,
    stop_rule: StopRule = is_settled,
    share: float = 1.0,
    patience: Patience = endless,
    enough: int | None = None,
) -> Poll:
    """
    Ask *panel*, in its order, until the outcome is settled, everybody but stragglers has answered, or time is up.

    Args:
        clock: the time.
        call: the question.
        panel: at least one member.
        emit: told of attempts.
        vote_weights: of the strategy.
        stop_rule: when to stop; also decides whom to ask: nobody more while those asked could settle it by agreeing.
        share: part of the time to the deadline after which it is up, once there is a valid answer.
        patience: how long a member's silence is borne.
        enough: valid answers that decide without those who are silent; None: more than half of the panel.

    Raises:
        DeadlineExceeded: the deadline is near, and nobody has answered.
    """
    enough = quorum(len(panel)) if enough is None else enough
    polling = _Polling(call, panel, AttemptGroup(emit), vote_weights, stop_rule, patience, enough)
    end = call.deadline - DECISION_MARGIN
    soon = min(end, clock.now() + share * (end - clock.now()))
    gave_up = timed_out = False
    async with polling.attempt_group as attempt_group:
        polling.start(first_wave(panel))
        while attempt_group.running and not polling.is_settled() and not timed_out and not gave_up:
            until = soon if polling.ballots() else end
            attempt = await attempt_group.next(min(until, polling.stragglers.next_at(clock.now())))
            timed_out = attempt is None and clock.now() >= until
            polling.start_needed(clock.now())
            gave_up = not timed_out and polling.may_give_up(clock.now())
        timed_out = timed_out and bool(attempt_group.running) and not polling.is_settled()
        stragglers = tuple(attempt_group.running) if gave_up and not polling.is_settled() else ()
    if timed_out and not polling.ballots():
        raise DeadlineExceeded(call.deadline - call.began, attempt_group.attempts, cut=call.deadline_cut)
    unasked = tuple(member.name for member in polling.waiting)
    return Poll(attempt_group.attempts, unasked, timed_out, stragglers=stragglers)


class _Polling:
    """Who was asked, who answered what, and who waits."""

    def __init__(
        self,
        call: Call,
        panel: Sequence[Member],
        attempt_group: AttemptGroup,
        vote_weights: VoteWeights,
        stop_rule: StopRule,
        patience: Patience,
        enough: int,
    ) -> None:
        self._call, self._panel, self._vote_weights, self._stop_rule = call, tuple(panel), vote_weights, stop_rule
        self._enough = enough
        self._ballots: list[Ballot] = []
        self._counted = 0
        self.attempt_group, self.waiting = attempt_group, list(panel)
        self.stragglers = Stragglers(call, panel, attempt_group, patience)

    def ballots(self) -> list[Ballot]:
        """The valid answers that are in, counted anew where another attempt has ended."""
        attempts = self.attempt_group.attempts
        if len(attempts) != self._counted:
            self._ballots = valid_ballots(self._call, self._panel, attempts, self._vote_weights)
            self._counted = len(attempts)
        return self._ballots

    def is_settled(self) -> bool:
        return self._stop_rule(self._call.task, self.ballots(), [*self._running(), *self.waiting], self._vote_weights)

    def start(self, count: int) -> None:
        for member in self.waiting[:count]:
            self.attempt_group.start(member, call_for(self._call, member), why=VOTE)
        del self.waiting[:count]

    def start_needed(self, now: float) -> None:
        """Ask more, until those counted on could settle it by agreeing with one another, or with one who answered."""
        while self.waiting and not self._could_settle(now):
            self.start(1)

    def may_give_up(self, now: float) -> bool:
        """Whether only stragglers are out, and the answers that are in are enough."""
        stragglers = self.stragglers.at(now)
        only = bool(stragglers) and len(stragglers) == len(self._running())
        return only and is_enough(len(self.ballots()), self._enough, stragglers)

    def _could_settle(self, now: float) -> bool:
        stragglers = {member.name for member in self.stragglers.at(now)}
        ballots, running = self.ballots(), [m for m in self._running() if m.name not in stragglers]
        if stragglers and len(ballots) + len(running) < self._enough:
            return False
        if not ballots:
            return len(running) >= quorum(len(self._panel))
        return any(
            self._stop_rule(
                self._call.task, [*ballots, *self._hypothetical(said, running)], self.waiting, self._vote_weights
            )
            for said in ballots
        )

    def _hypothetical(self, said: Ballot, members: Sequence[Member]) -> list[Ballot]:
        task, weights = self._call.task, self._vote_weights
        return [
            Ballot(m, said.reading, said.key, *weights.weigh(task, m, said.reading), weights.odds(task, m))
            for m in members
        ]

    def _running(self) -> list[Member]:
        running = set(self.attempt_group.running).difference(a.provider for a in self.attempt_group.attempts)
        return [m for m in self._panel if m.name in running] if running else []


def _sort_key(count: float, weight: float, rank: int) -> tuple[float, float, int]:
    """A group's place, the winner's being least; rounded, so that the order of addition decides nothing."""
    return (-round(count, 9), -round(weight, 9), rank)


def _by_wording(task: Task, same: Sequence[Ballot]) -> list[Ballot]:
    """*same* with the wording most of them use first, to the letter; then by weight, then as in the file."""
    if len(same) < 3:
        return sorted(same, key=lambda ballot: (-ballot.weight, ballot.member.rank))
    exact = [agreement.exact(task, ballot.reading) for ballot in same]
    order = sorted(range(len(same)), key=lambda i: (-exact.count(exact[i]), -same[i].weight, same[i].member.rank))
    return [same[i] for i in order]


def _rank(ballot_group: BallotGroup) -> int:
    return min(ballot.member.rank for ballot in ballot_group.ballots)

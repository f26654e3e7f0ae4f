r"""
Trust: how likely a provider is right on a task, learned from what became of its answers.

For each task and each *expert* a record of wins and losses with a Beta prior::

    P(right) = (prior * p0 + wins) / (prior + wins + losses)            prior = 50 observations

    expert            p0, what is believed before anything is seen
    ----------------  ---------------------------------------------------------------------------------
    a provider        weight / (1 + weight): the configuration's weight is its prior odds of being right
    a trait           the task's own rate: seeing ``form:prose`` says nothing until it has proved to
    a judge           0.65, what small judges reach on recorded human preferences

So the odds of a provider are its weight times what was learned, a Bayes factor. A vote counts
``log odds + traits + log(K - 1)``: against K - 1 = 9 equally plausible wrong answers a voter that is right one time
in four still tells something. Votes are never negative, and never quite zero.

What teaches, and how much: a person's feedback 1, a judge's verdict 0.5, the panel's own final decision 0.25
(it rewards conformity, so it may nudge and not push), and that only where at least two agreed on it and more than on
any other answer: a tie-break that counted as a win would confirm itself. Only questions that divided the panel teach:
where all agree, nobody earns anything over the others. Records decay, half gone after 700 observations, so that a new
model under an old name is found out.

A judge is marked where the truth is known, by how it prefers the better one of two. Where the answer was good, it
preferred it to each of the others, so many preferences are right; or it preferred another one to it, and one is wrong.
So a judge that is right in 65 of 100 pairs is learned as that, from three candidates too. Where the answer was bad and
the judge had chosen it, it erred only if another candidate was right. Nobody said so; that counts as the task's rate of
right answers, which is about how often it is so: 24, 13 and 45 percent on three recorded tasks, whose rates are 27, 15
and 51.

Each tenant teaches its own trust. What was learned without a tenant, by the operator, counts for all of them.

Sources: Nitzan & Paroush 1982 (log-odds weights are optimal for independent voters); figures in
``bench/results/quality.md``.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from llm_pool.trust.calibration import Curve, Labelled, curve, share_right

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from llm_pool.core.interfaces import Member

Source: TypeAlias = Literal["feedback", "judge", "decision"]

STRENGTH: Final[dict[Source, float]] = {"feedback": 1.0, "judge": 0.5, "decision": 0.25}
"""Observations that one decision is worth, by where it was learned from."""
PRIOR: Final = 50.0
"""Observations that the belief about a provider or judge is worth before anything is seen."""
RATE_PRIOR: Final = 2.0
"""The same for the task's own rate: were it slow to follow, every common trait would look worse than it is."""
TRAIT_PRIOR: Final = 20.0
"""The same for traits, which all providers teach together."""
HALF_LIFE: Final = 700.0
"""Observations after which a record counts half."""
PLAUSIBLE_WRONG: Final = 9
"""K - 1, equally plausible wrong answers to a question."""
MIN_VOTE: Final = 0.05
"""What a vote counts at least, so that two distrusted providers that agree still beat silence."""
JUDGE_ACCURACY: Final = 0.65
BASE_RATE: Final = ""
"""The expert whose record is the task's own rate of right answers."""
MIN_SAMPLES: Final = 30.0
"""Observations on a task from which trust breaks the ties of VOTING; labels from which there is a confidence."""
BINS: Final = 48
BIN: Final = 0.25
"""Margins are kept in so many bins of this width; greater ones in the last."""
POOLED: Final = 32
"""Tasks whose labelled answers say together how sure an answer is: a bound on the time that takes."""
TASKS: Final = 1024
"""Tasks, counted for each tenant, of which something is kept; the one that came first goes first."""


class Record(msgspec.Struct):
    """Wins and losses of one expert on one task, decayed."""

    wins: float = 0.0
    losses: float = 0.0

    def add(self, *, right: bool, strength: float) -> None:
        """Count one observation worth *strength*, after letting the old ones fade."""
        fade = 0.5 ** (strength / HALF_LIFE)
        self.wins = self.wins * fade + (strength if right else 0.0)
        self.losses = self.losses * fade + (0.0 if right else strength)

    def mean(self, p0: float, prior: float) -> float:
        """The Beta posterior's mean."""
        return (prior * p0 + self.wins) / (prior + self.wins + self.losses)


class PanelAnswer(msgspec.Struct, frozen=True):
    """
    One provider's answer, as what can be learned from.

    Attributes:
        cluster: answers of one cluster are the same answer; the winning cluster is 0.
        traits: of ``agreement.evidence``.
    """

    provider: str
    cluster: int
    traits: tuple[str, ...] = ()


class PanelOutcome(msgspec.Struct, frozen=True):
    """What can be learned from one decision, small enough to be kept until feedback comes."""

    task: str
    answers_given: tuple[PanelAnswer, ...]

    @property
    def is_divided(self) -> bool:
        """Whether the panel disagreed: only then there is something to learn."""
        return len({statement.cluster for statement in self.answers_given}) > 1

    @property
    def rivals(self) -> int:
        """How many other answers there were."""
        return len({statement.cluster for statement in self.answers_given} - {0})

    @property
    def is_carried(self) -> bool:
        """Whether at least two agreed on the winning answer, and more than on any other."""
        sizes = Counter(statement.cluster for statement in self.answers_given)
        return sizes[0] >= 2 and all(sizes[0] > size for cluster, size in sizes.items() if cluster != 0)


class Observation(msgspec.Struct, frozen=True):
    """
    One addition to a record.

    Attributes:
        task: with its tenant, ``tenant/task``, where a tenant taught it.
        strength: observations that it is worth, > 0.
    """

    task: str
    expert: str
    right: bool
    strength: float


class TrustRecord(msgspec.Struct, frozen=True):
    """One line of ``llm-pool health --trust``."""

    task: str
    expert: str
    wins: float
    losses: float


class Trust:
    """
    The records, and what follows from them.

    Args:
        records: by task, then by expert: ``provider:phi3``, ``judge:gemma2``, a trait, or RATE. A tenant's tasks
            stand there as ``tenant/task``.
        tenant_id: whose trust it is; empty: the operator's, which counts for every tenant.
        curves: what was worked out from the margins in *records*, by the same names; shared like them.
        tell: gets each observation that is learned here; None: nobody listens.
    """

    def __init__(
        self,
        records: dict[str, dict[str, Record]] | None = None,
        tenant_id: str = "",
        curves: dict[str, Curve | None] | None = None,
        tell: Callable[[Observation], None] | None = None,
    ) -> None:
        self._records = records if records is not None else {}
        self._tenant_id = tenant_id
        self._curves = curves if curves is not None else {}
        self.tell = tell

    def of(self, tenant_id: str) -> Trust:
        """The trust of a tenant: it learns apart from the others, from what was learned without a tenant on."""
        return self if tenant_id == self._tenant_id else Trust(self._records, tenant_id, self._curves, self.tell)

    def probability(self, member: Member, task: str) -> float:
        """How likely *member* is right on *task* where the panel is divided, in (0, 1)."""
        p0 = member.weight / (1.0 + member.weight)
        return self._record(task, _provider(member.name)).mean(p0, PRIOR)

    def odds(self, member: Member, task: str) -> float:
        """The odds, > 0, that *member* is right on *task*."""
        return math.exp(self.log_odds(member, task))

    def log_odds(self, member: Member, task: str) -> float:
        """Natural logarithm of the odds that *member* is right on *task*."""
        return _logit(self.probability(member, task))

    def accuracy(self, judge: Member, task: str) -> float:
        """How often *judge* prefers the better one of two candidates on *task*, in (0, 1)."""
        return self._record(task, _judge(judge.name)).mean(JUDGE_ACCURACY, PRIOR)

    def vote(self, member: Member, task: str, traits: Iterable[str] = ()) -> float:
        """What *member*'s answer counts, > 0, given the *traits* seen in it."""
        said = sum(self._trait(task, trait) for trait in traits)
        return max(MIN_VOTE, self.log_odds(member, task) + said + math.log(PLAUSIBLE_WRONG))

    def max_vote(self, member: Member, task: str) -> float:
        """What *member*'s answer counts at most, whatever it will look like."""
        kinds: dict[str, float] = {}
        for trait in {*self._records.get(task, {}), *self._records.get(self._key(task), {})}:
            kind, _, name = trait.partition(":")
            if name and kind not in {"provider", "judge", "margin"}:
                kinds[kind] = max(kinds.get(kind, 0.0), self._trait(task, trait))
        return max(MIN_VOTE, self.log_odds(member, task) + sum(kinds.values()) + math.log(PLAUSIBLE_WRONG))

    def has_learned(self, task: str) -> bool:
        """Whether anything was observed on *task*."""
        return bool(self._records.get(task) or self._records.get(self._key(task)))

    def has_enough(self, task: str) -> bool:
        """Whether so much was observed on *task* that ties may go to trust."""
        rate = self._record(task, BASE_RATE)
        return rate.wins + rate.losses >= MIN_SAMPLES

    def learn(self, outcome: PanelOutcome, source: Source, *, good: bool = True) -> None:
        """
        Take in what became of a decision.

        *good* says whether the winning answer was right. If it was not, only its authors are known to be wrong;
        whether another was right, nobody said.
        """
        if not outcome.is_divided or (source == "decision" and not outcome.is_carried):
            return
        for statement in outcome.answers_given:
            won = statement.cluster == 0
            if won or good:
                self.observe(outcome.task, statement, source, right=won and good)

    def observe(self, task: str, statement: PanelAnswer, source: Source, *, right: bool) -> None:
        """Count one answer to a question that divided the panel, known to be *right* or not."""
        for expert in (_provider(statement.provider), BASE_RATE, *statement.traits):
            self._add(task, expert, right=right, strength=STRENGTH[source])

    def learn_judge(self, judge: str, task: str, *, chose_it: bool, good: bool, rivals: int) -> None:
        """
        Count *judge*'s first choice, from a person's feedback.

        Args:
            judge: its name.
            task: the task's.
            chose_it: whether the answer that was given was its first choice.
            good: whether that answer was right.
            rivals: how many other candidates it saw, at least one.
        """
        if good:
            preferences = rivals if chose_it else 1
            self._add(task, _judge(judge), right=chose_it, strength=STRENGTH["feedback"] * preferences)
        elif chose_it:
            another_right = self._record(task, BASE_RATE).mean(0.5, RATE_PRIOR)
            self._add(task, _judge(judge), right=False, strength=STRENGTH["feedback"] * another_right)

    def learn_margin(self, task: str, margin: float, *, right: bool) -> None:
        """Count an answer that led by *margin* >= 0 and is known to be *right* or not, divided panel or not."""
        self._add(task, _margin(margin), right=right, strength=STRENGTH["feedback"])
        self._forget_curves(task)

    def confidence(self, task: str, margin: float) -> float | None:
        """
        How often labelled answers at least as sure as one of *task* with *margin* were right, in (0, 1).

        All tasks count together, each by what its own margins mean (``calibration``); a greater margin never means
        less. Four decimals. None below MIN_SAMPLES labelled answers of *task*.
        """
        own = self._curve(task)
        if own is None:
            return None
        tasks = dict.fromkeys([task, *islice(self._tasks(), POOLED)])
        curves = [one for one in map(self._curve, tasks) if one is not None]
        return round(min(share_right(curves, own.at(_middle(_bin(margin)))), 0.9999), 4)

    def forget(self, *, provider: str | None = None, task: str | None = None) -> None:
        """Drop the records of one provider, of one task, of one on the other, or all."""
        for name in [task] if task is not None else list(self._records):
            records = self._records.get(name, {})
            for expert in [_provider(provider), _judge(provider)] if provider is not None else list(records):
                records.pop(expert, None)
            if not records:
                self._records.pop(name, None)
        self._curves.clear()

    def replace(self, records: Iterable[TrustRecord], since: Iterable[Observation]) -> None:
        """Take *records* for all there are, and add what was observed *since* they were read."""
        self._records.clear()
        self._curves.clear()
        for one in records:
            record = self._record_at(one.task, one.expert)
            record.wins, record.losses = one.wins, one.losses
        for seen in since:
            self._record_at(seen.task, seen.expert).add(right=seen.right, strength=seen.strength)

    def trust_records(self) -> Sequence[TrustRecord]:
        """Every record, by task and expert."""
        return [
            TrustRecord(task, expert, record.wins, record.losses)
            for task, records in sorted(self._records.items())
            for expert, record in sorted(records.items())
        ]

    def to_json(self) -> bytes:
        """The records as JSON, the same bytes for the same records."""
        return msgspec.json.format(msgspec.json.encode(self._records, order="sorted"), indent=1)

    @classmethod
    def from_json(cls, data: bytes) -> Trust:
        """The inverse of ``to_json``; raises msgspec.DecodeError."""
        records = msgspec.json.decode(data, type=dict[str, dict[str, Record]])
        for record in (record for task in records.values() for record in task.values()):
            if not (0 <= record.wins < math.inf and 0 <= record.losses < math.inf):
                raise msgspec.ValidationError("wins and losses are finite and not negative")
        return cls(records)

    def _tasks(self) -> Iterator[str]:
        """Tasks on which something was learned here; one that the operator and a tenant taught comes twice."""
        for key in self._records:
            tenant_id, _, task = key.rpartition("/")
            if tenant_id in {"", self._tenant_id}:
                yield task

    def _curve(self, task: str) -> Curve | None:
        """What margins mean on *task*; None while too few answers are labelled."""
        name = self._key(task) if self._key(task) in self._records else task
        if name not in self._records:
            return None
        if name not in self._curves:
            self._curves[name] = self._fitted(task)
        return self._curves[name]

    def _fitted(self, task: str) -> Curve | None:
        records = [(_middle(place), self._record(task, f"margin:{place:02}")) for place in range(BINS)]
        labelled = [Labelled(margin, one.wins, one.losses) for margin, one in records if one.wins + one.losses > 0]
        return curve(labelled) if sum(one.right + one.wrong for one in labelled) >= MIN_SAMPLES else None

    def _forget_curves(self, task: str) -> None:
        """The operator's answers count in every tenant's curve."""
        for name in [name for name in self._curves if name.rpartition("/")[2] == task]:
            if name == self._key(task) or not self._tenant_id:
                del self._curves[name]

    def _trait(self, task: str, trait: str) -> float:
        """How much more likely an answer with *trait* is right, as a difference of log odds."""
        rate = self._record(task, BASE_RATE).mean(0.5, RATE_PRIOR)
        return _logit(self._record(task, trait).mean(rate, TRAIT_PRIOR)) - _logit(rate)

    def _record(self, task: str, expert: str) -> Record:
        """What is known here of *expert*: the operator's record and, for a tenant, its own with it."""
        found = self._records.get(task, {}).get(expert) or Record()
        if not self._tenant_id:
            return found
        own = self._records.get(self._key(task), {}).get(expert) or Record()
        return Record(found.wins + own.wins, found.losses + own.losses)

    def _add(self, task: str, expert: str, *, right: bool, strength: float) -> None:
        key = self._key(task)
        self._record_at(key, expert).add(right=right, strength=strength)
        if self.tell is not None:
            self.tell(Observation(key, expert, right, strength))

    def _record_at(self, key: str, expert: str) -> Record:
        if key not in self._records and len(self._records) >= TASKS:
            del self._records[next(iter(self._records))]
            self._curves.clear()
        return self._records.setdefault(key, {}).setdefault(expert, Record())

    def _key(self, task: str) -> str:
        return f"{self._tenant_id}/{task}" if self._tenant_id else task


def _provider(name: str) -> str:
    return f"provider:{name}"


def _judge(name: str) -> str:
    return f"judge:{name}"


def _margin(margin: float) -> str:
    return f"margin:{_bin(margin):02}"


def _bin(margin: float) -> int:
    return min(int(margin / BIN), BINS - 1)


def _middle(place: int) -> float:
    return (place + 0.5) * BIN


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1.0 - 1e-6)  # a weight can round to certainty
    return math.log(p / (1.0 - p))

"""Rounds of load, each subject in turn, and what they cost; the figures of it all, and what they must be."""

from __future__ import annotations

import sys
import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.load.figures import Spread, Verdict
from bench.load.processes import cpu_of, rss_of
from bench.load.wrk import drive

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.gateway.subjects import Subject
    from bench.load.wrk import Report

WARM_UP = 1.0
BASE = "sglang-router"
STALL_REQUESTS = 10_000
FEWEST = 30
"""Requests that a round must have; one with fewer is repeated, twice as long."""
LONGEST_ROUND = 30.0


class WrongAnswers(Exception):
    """Somebody was answered otherwise than it must be."""


class Plan(NamedTuple):
    """How much is measured; *seconds* of load for each subject in each round."""

    rounds: int
    seconds: float
    connections: int
    starts: int


class Round(NamedTuple):
    """One subject in one round: *cpu* in microseconds for each request."""

    cpu: float
    report: Report


class Row(NamedTuple):
    """One subject: its rounds, and MB of memory before the first and after the last."""

    rounds: list[Round]
    rss_before: float
    rss_after: float

    @property
    def cpu(self) -> Spread:
        """Microseconds for each request."""
        return Spread.of([each.cpu for each in self.rounds])

    @property
    def rate(self) -> float:
        """Requests a second, the median round's."""
        return median(each.report.requests / each.report.seconds for each in self.rounds)


def measure(subjects: Sequence[Subject], plan: Plan) -> tuple[dict[str, Row], list[str]]:
    """
    By name, every subject's row, and what is to be said of peers that failed; all are asked once in each round.

    Raises:
        WrongAnswers: of a daemon of ours.
    """
    before = {subject.name: rss_of(subject.pid) for subject in subjects}
    rounds: dict[str, list[Round]] = {subject.name: [] for subject in subjects}
    asked, failed = list(subjects), []
    for number in range(plan.rounds):
        for subject in list(asked):
            print(f"round {number + 1} of {plan.rounds}: {subject.name}", file=sys.stderr, flush=True)
            try:
                run = f"{number}.{subjects.index(subject)}"  # no two ask the same, which a cache would answer
                rounds[subject.name].append(one_round(subject, plan, run))
            except WrongAnswers as error:
                if subject.is_ours:
                    raise
                failed.append(str(error))
                asked.remove(subject)
    return {s.name: Row(rounds[s.name], before[s.name], rss_of(s.pid)) for s in asked}, failed


def one_round(subject: Subject, plan: Plan, run: str) -> Round:
    """Warm up, then count; raises WrongAnswers."""
    drive(subject.posts, connections=plan.connections, seconds=WARM_UP, run=f"{run}.0")
    seconds, requests = plan.seconds, 0
    while requests < FEWEST and seconds < LONGEST_ROUND:
        before = cpu_of(subject.pid)
        report = drive(subject.posts, connections=plan.connections, seconds=seconds, run=f"{run}.{seconds:g}")
        cpu, requests, seconds = cpu_of(subject.pid) - before, report.requests, 2 * seconds
    wrong = report.answered if subject.refuses else report.refused
    if report.broken or wrong or not requests:
        raise WrongAnswers(f"{subject.name}: {wrong} of {requests} answered wrongly, {report.broken} not at all")
    return Round(cpu / requests * 1e6, report)


def longest_gap(subject: Subject, requests: int, run: str) -> float:
    """Seconds: the longest of *requests* requests one after the other, over one connection."""
    seen, longest, until = 0, 0.0, time.monotonic() + 60
    while seen < requests and time.monotonic() < until:
        report = drive(subject.posts, connections=1, seconds=2, run=f"{run}-{seen}")
        seen, longest = seen + report.requests, max(longest, report.longest)
    return longest


def ratio(rows: Mapping[str, Row], what: str, to: str) -> float | None:
    """How many times *to*'s CPU *what* takes: the median of the rounds' ratios; None where one was not measured."""
    if what not in rows or to not in rows:
        return None
    pairs = zip(rows[what].rounds, rows[to].rounds, strict=True)
    return median(a.cpu / b.cpu for a, b in pairs)


def verdicts(rows: Mapping[str, Row], gaps: Spread, starts: Spread) -> list[Verdict]:
    """The figures with a bound; the bounds are those of issue 13."""
    infer, chat, hit = "/v1/infer, FASTEST, one provider", "/v1/chat/completions", "cache hit"
    base = f", times {BASE}"
    return [
        Verdict(infer + base, ratio(rows, infer, BASE), 2.2, 1.5),
        Verdict(chat + base, ratio(rows, chat, BASE), 2.4, 1.7),
        Verdict(hit + base, ratio(rows, hit, BASE), 1.0, 0.7),
        Verdict("VOTING of three, times FASTEST of one", ratio(rows, "VOTING of three", infer), 2.0, 1.7),
        Verdict("a refusal, share of an answer", ratio(rows, "a refusal: the queue is full", infer), 0.15, 0.1),
        Verdict(f"longest of {STALL_REQUESTS:,} requests in turn", gaps.median * 1000, 10, 5, " ms"),
        Verdict("memory, idle", rows[infer].rss_before, 80, unit=" MB"),
        Verdict("`serve` to ready", starts.median, 0.5, 0.4, " s"),
        Verdict("litellm, times /v1/chat/completions", ratio(rows, "litellm", chat), 80, 120, at_least=True),
    ]

"""What a run proves: the goals, and the figures as Markdown."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from bench.cluster.configuration import SLOTS

if TYPE_CHECKING:
    from bench.cluster.cluster import Observed
    from bench.cluster.faults import Phase
    from bench.cluster.load import Outcome

SHOWN = 20
"""Of what went wrong, at most so many are shown."""


class Findings:
    """
    What can be counted in what was observed.

    Attributes:
        again: ids for which a call was made upstream more than once.
        excused: those of them that were in the air while a replica that ran them was hit by a fault.
        divided: ids whose two senders got different answers.
        unseen: ids that were answered though no machine saw them.
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.sent = _by_id(observed.outcomes)
        replicas: defaultdict[str, set[str]] = defaultdict(set)
        made: Counter[tuple[str, str, str]] = Counter()
        for call in observed.calls:
            replicas[call.request_id].add(call.replica)
            made[call.request_id, call.model, call.question] += 1
        self.again = {request_id for (request_id, _, _), times in made.items() if times > 1}
        self.excused = {one for one in self.again if self._is_hit(one, replicas[one])}
        said = {one: {o.said for o in sent if not o.is_lost} for one, sent in self.sent.items()}
        self.divided = {one for one, answers in said.items() if len(answers) > 1} - self.excused
        self.unseen = {one for one, answers in said.items() if answers} - set(replicas)
        self.lost = [outcome for outcome in observed.outcomes if outcome.is_lost]

    def goals(self) -> dict[str, bool]:
        """Each goal, and whether it was reached."""
        seen = self.observed
        latest = max((outcome.late for outcome in seen.outcomes), default=0.0)
        return {
            "no request lost, with one retry by the balancer": bool(seen.outcomes) and not self.lost,
            "no reply after its deadline": latest == 0,
            "no call made twice upstream for one id": not self.again - self.excused and not self.unseen,
            "no machine ever had more calls than slots": max(seen.most_in_flight) <= SLOTS,
            "two who sent one id got one answer": not self.divided,
            "each replica took each new configuration": bool(seen.rollouts) and all(seen.rollouts),
            "each replica that was asked to leave left with status 0": not any(seen.exit_statuses),
            "no traceback in the replicas' logs": "raceback" not in seen.logs,
        }

    def story(self, request_id: str) -> str:
        """The calls and the replies of an id, in seconds since it was sent first."""
        began = min(outcome.began for outcome in self.sent[request_id])
        told = [
            (call.arrived, f"{call.replica} {call.model} to {call.ended - began:.2f} {call.ending}")
            for call in self.observed.calls
            if call.request_id == request_id
        ]
        told += [(outcome.ended, f"{outcome.strategy} {outcome.status}") for outcome in self.sent[request_id]]
        return "; ".join(f"{at - began:.2f} {what}" for at, what in sorted(told))

    def _is_hit(self, request_id: str, replicas: set[str]) -> bool:
        return any(
            phase.hit & replicas and phase.overlaps(outcome.began, outcome.ended)
            for phase in self.observed.phases
            for outcome in self.sent[request_id]
        )


def markdown(findings: Findings, command: str, balancer: str) -> str:
    """The figures."""
    seen = findings.observed
    goals = [f"| {goal} | {'reached' if is_met else '**missed**'} |" for goal, is_met in findings.goals().items()]
    statuses = Counter(str(outcome.status or "no reply") for outcome in seen.outcomes)
    lost = [f"- {o.strategy} {o.request_id}, {o.ended - o.began:.2f} s: {o.status} {o.said}" for o in findings.lost]
    again = [f"- {one}: {findings.story(one)}" for one in sorted(findings.again - findings.excused)]
    twice = sum(len(sent) > 1 for sent in findings.sent.values())
    return "\n".join(
        [
            "# Cluster",
            "",
            f"`{command}`, {time.strftime('%Y-%m-%d')}, {os.cpu_count()} vCPU, CPython {platform.python_version()}.",
            f"The balancer: {balancer}.",
            f"Rounds of faults: {seen.rounds}; `bench/cluster/__init__.py` says what fails, and what is counted.",
            "",
            "| goal | |",
            "|---|---|",
            *goals,
            "",
            f"- ids: {len(findings.sent)}, {twice} of them sent twice at once; replies: "
            + ", ".join(f"{count} with {status}" for status, count in sorted(statuses.items())),
            f"- retries of the balancer: {seen.retries}",
            f"- calls upstream: {len(seen.calls)}; ids with a call made again: {len(findings.again)}",
            f"- {len(findings.excused)} of these ids left out, as a fault hit the replica that ran them",
            f"- most calls at once on each machine: {', '.join(map(str, seen.most_in_flight))}, of {SLOTS} slots",
            f"- latest reply after its deadline: {1000 * max(o.late for o in seen.outcomes):.0f} ms",
            "",
            "| from this fault to the next | requests | lost | p50, ms | p99, ms | longest, ms | ids made again |",
            "|---|---|---|---|---|---|---|",
            *(_row(phase, findings) for phase in seen.phases),
            *(["", "Lost:", "", *lost[:SHOWN]] if lost else []),
            *(["", "Made again, and not left out:", "", *again[:SHOWN]] if again else []),
            "",
        ]
    )


def _row(phase: Phase, findings: Findings) -> str:
    asked = [outcome for outcome in findings.observed.outcomes if phase.began <= outcome.began < phase.until]
    took = sorted(1000 * (outcome.ended - outcome.began) for outcome in asked) or [0.0]
    lost = sum(outcome.is_lost for outcome in asked)
    again = len({outcome.request_id for outcome in asked} & findings.again)
    middle, high = took[len(took) // 2], took[int(0.99 * len(took))]
    return f"| {phase.name} | {len(asked)} | {lost} | {middle:.0f} | {high:.0f} | {took[-1]:.0f} | {again} |"


def _by_id(outcomes: list[Outcome]) -> dict[str, list[Outcome]]:
    found: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.request_id].append(outcome)
    return dict(found)

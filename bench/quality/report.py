"""The report as Markdown."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.quality.learning import by_decisions, by_feedback, by_labels, cross_fitted, curve, sure
from bench.quality.rules import CLOCK, decided, early_stopping, oracle, raced, shares, single, trade
from bench.quality.simulated_judge import PAIRWISE, NoPrior, by_feedback_on_verdicts, judged
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted
from llm_pool.trust.model import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.quality.learning import Teach
    from bench.quality.recorded import Question
    from bench.quality.rules import Rule


async def report(questions: Sequence[Question], seeds: int) -> str:
    """Accuracy, the trade of CONSENSUS, calls saved, extraction."""
    singles = {name: await shares(questions, single(name)) for name in questions[0].models}
    benches = list(next(iter(singles.values())))
    calls, differing = await early_stopping(questions)
    return "\n".join(
        [
            f"{len(questions)} questions, {seeds} random halvings. Percent right.",
            "",
            f"| | {' | '.join(benches)} |",
            "|---" * (len(benches) + 1) + "|",
            *(_row(f"{name} alone", found) for name, found in singles.items()),
            _row("best single model of each bench", _best(list(singles.values()))),
            *await _strategies(questions, seeds),
            _row("oracle, the best answer there is", oracle(questions)),
            "",
            *_consensus(questions, benches[:-1]),
            "",
            *await _confidence(questions, benches[:-1], seeds),
            "",
            "WEIGHTED minus VOTING by labelled questions, in points of the average, on rows it was not taught on.",
            "",
            "| labels | labels alone | and its own decisions on the rest |",
            "|---|---|---|",
            *(f"| {count} | {alone:+.2f} | {both:+.2f} |" for count, alone, both in await curve(questions, 2 * seeds)),
            "",
            f"Early stopping on one machine: {calls:.2f} calls, not {len(singles)}; {differing} verdicts change.",
            "",
            *extraction(questions),
        ]
    )


async def _strategies(questions: Sequence[Question], seeds: int) -> list[str]:
    judge = f"JUDGE, simulated, right in {PAIRWISE:.0%} of pairs"
    once: dict[str, Rule] = {
        "FASTEST, one after another": raced(hedge_after=None),
        "FASTEST, all at once": raced(hedge_after=0.0),
        "VOTING": decided(Voting(CLOCK)),
        "WEIGHTED, configured weights only": weighted(Trust()),
        f"{judge}, its word is law": judged(NoPrior()),
    }
    rows = [_row(name, await shares(questions, rule)) for name, rule in once.items()]
    crossed: dict[str, tuple[Teach, Callable[[Trust], Rule]]] = {
        "VOTING, ties to trust from labelled rows": (by_labels, voted),
        "WEIGHTED, learned from its own decisions": (by_decisions, weighted),
        "WEIGHTED, learned from feedback": (by_feedback, weighted),
        "WEIGHTED, learned from labelled rows": (by_labels, weighted),
        f"{judge}, weighed with trust from feedback": (by_feedback_on_verdicts, judged),
    }
    judged_last = rows.pop()
    found = [_row(name, await cross_fitted(questions, teach, rule, seeds)) for name, (teach, rule) in crossed.items()]
    return [*rows, *found[:-1], judged_last, found[-1]]


def voted(trust: Trust) -> Rule:
    """VOTING with ties to what *trust* knows."""
    return decided(Voting(CLOCK, trust))


def weighted(trust: Trust) -> Rule:
    """WEIGHTED with what *trust* knows."""
    return decided(Weighted(CLOCK, trust))


def extraction(questions: Sequence[Question]) -> list[str]:
    """Per model: answers the file's parser has, those we read, those of its that we miss, and where grades differ."""
    lines = ["| model | their answers | ours | theirs we miss | graded alike |", "|---|---|---|---|---|"]
    for name in questions[0].models:
        theirs = ours = missed = alike = graded = 0
        for question in questions:
            reading = next((a.reading for a in question.attempts if a.provider == name), None)
            has = question.models[name]["answer_key"] is not None
            theirs, ours, missed = theirs + has, ours + (reading is not None), missed + (has and reading is None)
            if has and reading is not None:
                graded += 1
                alike += question.matches(reading) == question.models[name]["correct"]
        lines.append(f"| {name} | {theirs} | {ours} | {missed} | {100 * alike / max(1, graded):.1f} % |")
    return lines


def _consensus(questions: Sequence[Question], benches: Sequence[str]) -> list[str]:
    return [
        "CONSENSUS: coverage and precision by the agreement asked for, percent.",
        "",
        f"| agreement | {' | '.join(benches)} |",
        "|---" * (len(benches) + 1) + "|",
        *(
            f"| {asked:.2f} | " + " | ".join(f"{c:.1f} at {p:.1f}" for c, p in trade(questions, asked).values()) + " |"
            for asked in (1.0, 0.66)
        ),
    ]


async def _confidence(questions: Sequence[Question], benches: Sequence[str], seeds: int) -> list[str]:
    found = {least: await sure(questions, least, seeds) for least in (0.8, 0.9, 0.95, 0.97)}
    return [
        "CONSENSUS by confidence, learned from labels on other rows: coverage and precision, percent.",
        "",
        f"| confidence | {' | '.join(benches)} | all |",
        "|---" * (len(benches) + 2) + "|",
        *(
            f"| {least:.2f} | " + " | ".join(f"{c:.1f} at {p:.1f}" for c, p in trades.values()) + " |"
            for least, trades in found.items()
        ),
    ]


def _best(singles: Sequence[dict[str, float]]) -> dict[str, float]:
    best = {bench: max(found[bench] for found in singles) for bench in singles[0] if bench != "average"}
    return {**best, "average": statistics.fmean(best.values())}


def _row(name: str, found: dict[str, float]) -> str:
    return f"| {name} | " + " | ".join(f"{share:.1f}" for share in found.values()) + " |"

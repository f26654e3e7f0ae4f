"""
What each strategy is worth on recorded answers of real models.

    python bench/quality.py [ANSWERS.jsonl] [--seeds N]

Each line of the file is a question: ``id``, ``bench``, ``gold``, and per model its ``raw`` answer, the
``answer_key`` that a lenient parser found, and whether it is ``correct``. Scripted providers say the raw answers;
reading, agreement, trust and the strategies are the engine's own. WEIGHTED is judged on rows it did not learn from:
the file is halved at random, trust is learned on one half and used on the other, both ways round, for each seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_pool import agreement
from llm_pool.ensemble.consensus import Consensus, Terms
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted, lesson
from llm_pool.errors import LlmPoolError
from llm_pool.messages import Attempt, Call, Decision, Member, Prompt, Reading, Task
from llm_pool.racing import Gathering
from llm_pool.testing import Reply, ScriptedProvider, VirtualLoop
from llm_pool.trust import Statement, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SAMPLE = Path(__file__).parent / "data" / "quality_sample.jsonl"
WEIGHTS = {"phi": 0.6, "llama": 1.0, "gemma": 0.8}
"""Of the default configuration; a model is one of these if its name says so."""
ANSWER = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "answer": {}},
    "required": ["answer"],
}


class LoopClock:
    """The running loop's time."""

    def now(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        """Nobody asks."""
        return 0.0


class Question(NamedTuple):
    """One line of the file, and what the engine made of it: the attempts of all models, read."""

    bench: str
    gold: Any
    models: dict[str, dict[str, Any]]
    call: Call
    panel: list[Member]
    attempts: tuple[Attempt, ...]

    def right(self, provider: str, reading: Reading) -> bool:
        """As the file marks that model's answer; where its parser found none, by our own comparison with gold."""
        marked = self.models[provider]
        return bool(marked["correct"]) if marked["answer_key"] is not None else self.matches(reading)

    def matches(self, reading: Reading) -> bool:
        """By our own strict comparison with gold."""
        said = agreement.canonical(reading.value["answer"], strict=True)
        return said == agreement.canonical(self.gold, strict=True)

    def is_right(self, decision: Decision) -> bool:
        """Whether the winner is right."""
        return self.right(decision.winner, decision.reading)


def nickname(model: str) -> str:
    """``phi`` for Phi-3.5-mini-instruct, and so on; other models keep their name."""
    return next((short for short in WEIGHTS if short in model.lower()), model)


async def load(lines: Sequence[str]) -> list[Question]:
    """The questions of a file, each asked of all its models through scripted providers."""
    questions = []
    for line in lines:
        row = json.loads(line)
        models = dict(sorted(((nickname(name), said) for name, said in row["models"].items()), key=_rank))
        call = _call(row)
        panel = _panel(models)
        async with Gathering(_ignore) as gathering:
            for member in panel:
                gathering.start(member, call, why="vote")
            async for _ in gathering.arrivals():
                pass
        questions.append(Question(row["bench"], row["gold"], models, call, panel, gathering.attempts))
    return questions


def _rank(item: tuple[str, Any]) -> int:
    return [*WEIGHTS].index(item[0]) if item[0] in WEIGHTS else len(WEIGHTS)


def _call(row: dict[str, Any]) -> Call:
    task = Task(name=row["bench"], template="", output_schema=ANSWER, kind="value", field="answer")
    now = asyncio.get_running_loop().time()
    return Call(
        request_id=row["id"],
        task=task,
        input=row["prompt"],
        prompt=Prompt("", row["prompt"]),
        schema=ANSWER,
        ids=(),
        max_tokens=2048,
        temperature=0.0,
        began=now,
        deadline=now + 60.0,
    )


def _panel(models: dict[str, dict[str, Any]], group: str = "") -> list[Member]:
    return [
        Member(
            provider=ScriptedProvider(name, Reply(said["raw"], ttft=0.1, duration=1.0)),
            model=name,
            weight=WEIGHTS.get(name, 1.0),
            group=group or name,
            rank=rank,
        )
        for rank, (name, said) in enumerate(models.items())
    ]


def _ignore(_: object) -> None:
    pass


# Rules


def oracle(question: Question) -> bool:
    """Whether any model is right."""
    return any(question.right(a.provider, a.reading) for a in question.attempts if a.reading is not None)


def single(name: str) -> Callable[[Question], bool]:
    """One model alone; no valid answer is wrong."""

    def rule(question: Question) -> bool:
        return any(
            question.right(name, a.reading) for a in question.attempts if a.provider == name and a.reading is not None
        )

    return rule


def decided(strategy: Any) -> Callable[[Question], bool]:
    """What *strategy* decides on all the answers."""

    def rule(question: Question) -> bool:
        try:
            return question.is_right(strategy.decide(question.call, question.panel, question.attempts))
        except LlmPoolError:
            return False

    return rule


def shares(questions: Iterable[Question], rule: Callable[[Question], bool]) -> dict[str, float]:
    """Percent right by bench, and their plain average."""
    marks: dict[str, list[bool]] = defaultdict(list)
    for question in questions:
        marks[question.bench].append(rule(question))
    by_bench = {bench: 100 * statistics.fmean(found) for bench, found in sorted(marks.items())}
    return {**by_bench, "average": statistics.fmean(by_bench.values())}


# Learning


def by_labels(trust: Trust, question: Question) -> None:
    """Every answer is marked right or wrong: what a labelled calibration run knows."""
    divided = len(agreement.alike(question.call.task, [a.reading for a in question.attempts if a.reading])) > 1
    for attempt in question.attempts if divided else ():
        if attempt.reading is not None:
            traits = agreement.evidence(question.call.task, attempt.reading)
            right = question.right(attempt.provider, attempt.reading)
            trust.observe(question.bench, Statement(attempt.provider, 0, traits), "feedback", right=right)


def by_feedback(trust: Trust, question: Question) -> None:
    """A person says of each answer given whether it was good: what daily use knows."""
    _teach(trust, question, "feedback")


def by_decisions(trust: Trust, question: Question) -> None:
    """Nobody says anything; whoever agrees with the decision wins."""
    _teach(trust, question, "decision")


def _teach(trust: Trust, question: Question, source: Any) -> None:
    try:
        decision = Weighted(LoopClock(), trust).decide(question.call, question.panel, question.attempts)
    except LlmPoolError:
        return
    good = source == "decision" or question.is_right(decision)
    trust.learn(lesson(question.call.task, decision), source, good=good)


def cross_fitted(
    questions: Sequence[Question], teach: Callable[[Trust, Question], None], seeds: int
) -> dict[str, float]:
    """WEIGHTED on rows its trust was not learned on: mean over *seeds* random halvings, both ways round."""
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        shuffled = random.Random(seed).sample(questions, len(questions))
        middle = len(shuffled) // 2
        marks: dict[int, bool] = {}
        for learned, judged in ((shuffled[:middle], shuffled[middle:]), (shuffled[middle:], shuffled[:middle])):
            trust = Trust()
            for question in learned:
                teach(trust, question)
            rule = decided(Weighted(LoopClock(), trust))
            marks.update({id(question): rule(question) for question in judged})
        for bench, share in shares(questions, lambda question: marks[id(question)]).items():  # noqa: B023  used at once
            found[bench].append(share)
    return {bench: statistics.fmean(values) for bench, values in found.items()}


# Early stopping and consensus


async def early_stopping(questions: Sequence[Question]) -> tuple[float, int]:
    """Calls a question when all models share one machine, and verdicts that differ from asking all: 0 is lossless."""
    calls, differing = 0, 0
    voting = Voting(LoopClock())
    for question in questions:
        panel = _panel(question.models, group="one machine")
        now = asyncio.get_running_loop().time()
        call = _moved(question.call, now)
        try:
            stopped = await voting.run(call, panel, _ignore)
        except LlmPoolError:
            calls += len(panel)
            continue
        whole = voting.decide(question.call, question.panel, question.attempts)
        calls += len(stopped.attempts)
        differing += agreement.key(call.task, stopped.reading) != agreement.key(call.task, whole.reading)
    return calls / len(questions), differing


def _moved(call: Call, now: float) -> Call:
    import msgspec

    return msgspec.structs.replace(call, began=now, deadline=now + 60.0)


def trade(questions: Sequence[Question], agreement_asked: float) -> dict[str, tuple[float, float]]:
    """Coverage and precision of CONSENSUS, in percent, by bench."""
    strategy = Consensus(LoopClock(), Terms(min_agreement=agreement_asked))
    marks: dict[str, list[bool | None]] = defaultdict(list)
    for question in questions:
        try:
            marks[question.bench].append(
                question.is_right(strategy.decide(question.call, question.panel, question.attempts))
            )
        except LlmPoolError:
            marks[question.bench].append(None)
    return {bench: _trade(found) for bench, found in sorted(marks.items())}


def _trade(marks: Sequence[bool | None]) -> tuple[float, float]:
    answered = [mark for mark in marks if mark is not None]
    return 100 * len(answered) / len(marks), 100 * statistics.fmean(answered) if answered else float("nan")


# Report


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


def row(name: str, found: dict[str, float]) -> str:
    """One line of the table."""
    return f"| {name} | " + " | ".join(f"{share:.1f}" for share in found.values()) + " |"


async def report(answers: Sequence[str], seeds: int) -> str:
    """The whole report as Markdown."""
    questions = await load(answers)
    models = list(questions[0].models)
    singles = {name: shares(questions, single(name)) for name in models}
    benches = list(next(iter(singles.values())))
    best = {bench: max(found[bench] for found in singles.values()) for bench in benches}
    best["average"] = statistics.fmean(best[bench] for bench in benches if bench != "average")
    calls, differing = await early_stopping(questions)
    lines = [
        f"{len(questions)} questions, {seeds} random halvings. Percent right.",
        "",
        f"| | {' | '.join(benches)} |",
        "|---" * (len(benches) + 1) + "|",
        *(row(f"{name} alone", found) for name, found in singles.items()),
        row("best single model of each bench", best),
        row("VOTING", shares(questions, decided(Voting(LoopClock())))),
        row("WEIGHTED, configured weights only", shares(questions, decided(Weighted(LoopClock(), Trust())))),
        row("WEIGHTED, learned from its own decisions", cross_fitted(questions, by_decisions, seeds)),
        row("WEIGHTED, learned from feedback", cross_fitted(questions, by_feedback, seeds)),
        row("WEIGHTED, learned from labelled rows", cross_fitted(questions, by_labels, seeds)),
        row("oracle, the best answer there is", shares(questions, oracle)),
        "",
        "CONSENSUS: coverage and precision by the agreement asked for, percent.",
        "",
        f"| agreement | {' | '.join(bench for bench in benches if bench != 'average')} |",
        "|---" * len(benches) + "|",
        *(
            f"| {asked:.2f} | " + " | ".join(f"{c:.1f} at {p:.1f}" for c, p in trade(questions, asked).values()) + " |"
            for asked in (1.0, 0.66)
        ),
        "",
        f"Early stopping on one machine: {calls:.2f} calls a question, not {len(models)}; {differing} verdicts change.",
        "",
        *extraction(questions),
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1] if __doc__ else "")
    parser.add_argument("answers", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        print(runner.run(report(options.answers.read_text(encoding="utf-8").splitlines(), options.seeds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

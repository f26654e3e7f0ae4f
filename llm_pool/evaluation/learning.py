"""
What labelled questions teach, and from which of them a question is decided.

Each answer to a question that divided the models is marked right or wrong, and how far WEIGHTED's votes led tells what
such a lead is worth: what feedback would teach over time. A question is decided with what the questions of other folds
have taught, never its own: cross-fitting (Stone 1974, Cross-validatory choice, JRSS B 36:111-147).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from llm_pool import agreement
from llm_pool.core.clock import SystemClock
from llm_pool.core.errors import LlmPoolError
from llm_pool.ensemble.weighted import Weighted, margin_of
from llm_pool.evaluation.tape import text_of
from llm_pool.trust.model import PanelAnswer, Trust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.messages import Reading
    from llm_pool.evaluation.answers import RecordedVerdict
    from llm_pool.evaluation.replay import Read

FOLDS: Final = 5


def folds(count: int, seed: int = 0) -> list[list[int]]:
    """The places 0 to *count* - 1 in at most FOLDS parts of about one size, by chance that *seed* decides."""
    places = list(range(count))
    random.Random(seed).shuffle(places)  # noqa: S311  # an order, not a secret
    return [sorted(places[start::FOLDS]) for start in range(min(FOLDS, count))]


class Labelled:
    """
    One question with all its answers, and which of the models are right.

    Args:
        read: the question and its answers.
        right: by provider; of those whose answer was read.
        verdicts: what judges said of them.
    """

    def __init__(self, read: Read, right: Mapping[str, bool], verdicts: Sequence[RecordedVerdict] = ()) -> None:
        self.read, self.right, self.verdicts = read, dict(right), tuple(verdicts)

    def teach(self, trust: Trust) -> None:
        """Take in what this question teaches."""
        call, attempts = self.read.call, self.read.attempts
        valid = {a.provider: a.reading for a in attempts if a.reading is not None and a.provider in self.right}
        if not valid:
            return
        self._teach_margin(trust)
        keys = [agreement.key(call.task, reading, call.input) for reading in valid.values()]
        if len(agreement.grouped(keys)) > 1:
            for name, reading in valid.items():
                traits = agreement.evidence(call.task, reading)
                trust.observe(call.task.name, PanelAnswer(name, 0, traits), "feedback", right=self.right[name])
            self._teach_judges(trust, valid)

    def _teach_margin(self, trust: Trust) -> None:
        call, panel, attempts = self.read.call, self.read.panel, self.read.attempts
        try:
            decision = Weighted(SystemClock(), trust).decide(call, panel, attempts)
        except LlmPoolError:
            return
        if decision.winner in self.right:
            trust.learn_margin(call.task.name, margin_of(decision), right=self.right[decision.winner])

    def _teach_judges(self, trust: Trust, valid: Mapping[str, Reading]) -> None:
        """A judge is marked where it chose between right and wrong: one word for each pair of them."""
        right_of = {text_of(reading): self.right[name] for name, reading in valid.items()}
        heard: set[str] = set()
        for verdict in self.verdicts:
            chosen = _first_choice(verdict)
            marks = [right_of.get(text) for text in verdict.candidates]
            if verdict.judge in heard or chosen is None or None in marks or marks[chosen] is None:
                continue
            heard.add(verdict.judge)
            others = [mark for place, mark in enumerate(marks) if place != chosen and mark != marks[chosen]]
            if others:
                good = bool(marks[chosen])
                trust.learn_judge(verdict.judge, self.read.call.task.name, chose_it=good, good=True, rivals=len(others))


def taught(labelled: Sequence[Labelled]) -> Trust:
    """A trust that has seen *labelled*, and nothing else."""
    trust = Trust()
    for one in labelled:
        one.teach(trust)
    return trust


def _first_choice(verdict: RecordedVerdict) -> int | None:
    from llm_pool.ensemble.verdict import chosen_letter
    from llm_pool.evaluation.tape import bare_letter

    order = list(range(len(verdict.candidates)))
    chosen = chosen_letter(bare_letter(verdict), order)
    return None if chosen is None else chosen.index(1.0)

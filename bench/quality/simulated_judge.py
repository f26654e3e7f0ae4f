"""
JUDGE with a simulated judge: there is none in the file.

The judge sees the real prompt and replies with a letter. Of a right and a wrong answer it prefers the right one with
probability PAIRWISE; of three it takes each with the odds that follow (Bradley and Terry), and between answers that
are all right or all wrong, or where the question in its prompt is not whole, it tosses a coin. What it says of a
question depends on the answers alone, so that the same judge can be heard under different priors.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, Final

from bench.quality.recorded import ignore
from bench.quality.rules import CLOCK
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.interfaces import Member
from llm_pool.ensemble.judge import Judge, JudgeLimits
from llm_pool.ensemble.verdict import judging_prompt
from llm_pool.ensemble.voting import Voting
from llm_pool.tasks.rendering import neutralized
from llm_pool.testing import Reply, ScriptedProvider
from llm_pool.trust.learning import panel_outcome, preferences
from llm_pool.trust.model import JUDGE_ACCURACY

if TYPE_CHECKING:
    from bench.quality.recorded import Question
    from bench.quality.rules import Rule
    from llm_pool.core.messages import Call, Decision
    from llm_pool.ensemble.judge import TrustSource
    from llm_pool.trust.model import Trust

PAIRWISE: Final = 0.65
_SHOWN: Final = re.compile(r"<answer ([A-H]) (\w+)>\n(.*?)\n</answer \1 \2>", re.DOTALL)


class NoPrior:
    """A weigher that trusts everybody alike, so that the judge's word is law."""

    def of(self, _tenant_id: str) -> NoPrior:
        """The same for every tenant."""
        return self

    @staticmethod
    def vote(_member: Member, _task: str, _traits: object = ()) -> float:
        """Even."""
        return 0.0

    @staticmethod
    def accuracy(_judge: Member, _task: str) -> float:
        """As believed of any judge."""
        return JUDGE_ACCURACY


def judged(trust: TrustSource, pairwise: float = PAIRWISE) -> Rule:
    """JUDGE on the answers that are there, its judge's word weighed by *trust*."""

    async def rule(question: Question) -> Decision:
        judge = _judge(question, pairwise)
        strategy = Judge(CLOCK, Random(0), JudgeLimits(), trust, judges=lambda _: [judge], fallback=Voting(CLOCK))
        return await strategy.judge(question.asked_now(), question.panel, question.attempts, ignore)

    return rule


async def by_feedback_on_verdicts(trust: Trust, question: Question) -> None:
    """A person says of each answer that JUDGE gave whether it was good: what daily use knows, of the judge too."""
    try:
        decision = await judged(trust)(question)
    except LlmPoolError:
        return
    good = question.is_right(decision)
    outcome = panel_outcome(question.call.task, decision)
    trust.learn(outcome, "feedback", good=good)
    for judge, chose_it in preferences(decision).items():
        trust.learn_judge(judge, question.bench, chose_it=chose_it, good=good, rivals=outcome.rivals)


def _judge(question: Question, pairwise: float) -> Member:
    def verdict(call: Call) -> Reply:
        shown = sorted((text, fence, letter) for letter, fence, text in _SHOWN.findall(call.prompt.user))
        is_authoritative = neutralized(question.call.prompt.transcript) in call.prompt.user
        odds = [
            pairwise / (1 - pairwise) if is_authoritative and _is_right(question, text, fence) else 1.0
            for text, fence, _ in shown
        ]
        return Reply(Random(call.request_id).choices([letter for *_, letter in shown], odds)[0], ttft=0.1, duration=0.1)

    return Member(provider=ScriptedProvider("judge", verdict), model="simulated", weight=1.0, group="judge", rank=99)


def _is_right(question: Question, text: str, fence: str) -> bool:
    """Whether the candidate that is shown as *text* is right."""
    return any(
        question.right(attempt.provider, attempt.reading)
        for attempt in question.attempts
        if attempt.reading is not None and _as_shown(attempt.reading.content, fence) == text
    )


def _as_shown(content: str, fence: str) -> str:
    found = _SHOWN.search(judging_prompt("", [content], fence=fence, order=[0]).user)
    assert found is not None
    return found.group(3)

"""
The same answers through the whole pool: a scripted Ollama behind a real socket says what was recorded.

The pool is built from a configuration file, as for anybody, and asked through its orchestrator. Its verdicts have to
be those of the rules alone, to which all answers were handed at once.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, NamedTuple
from unittest.mock import patch

import msgspec

from bench.quality.learning import by_labels, taught
from bench.quality.recorded import WEIGHTS, ignore
from bench.quality.rules import CLOCK, decided, raced
from llm_pool import agreement, config
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Decision, Query, StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.engine.state import PoolState
from llm_pool.ensemble import formulas
from llm_pool.ensemble.consensus import Consensus, ConsensusRule
from llm_pool.ensemble.voting import Voting
from llm_pool.ensemble.weighted import Weighted
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bench.quality.recorded import Question
    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App
    from llm_pool.trust.model import Trust

TASK: Final = """\
+++
kind = "value"
field = "answer"

[output_schema]
type = "object"
required = ["answer"]
properties.reasoning = { type = "string" }
properties.answer = {}
+++
{{input}}
"""
RULES: Final = """\
[qos]
max_deadline_ms = 60000
hedge = "off"
budget_ratio = 1.0

[ensemble.consensus]
min_agreement = 1.0
strict = true

[cache]
enabled = false

[trust]
enabled = false
"""
"""No hedge, so that a busy machine does not change who answers first; trust comes from the bench."""


class Verdicts(NamedTuple):
    """What the rules alone say of a sample of the questions, by strategy, and the trust that WEIGHTED had."""

    questions: Sequence[Question]
    expected: dict[StrategyName, list[str]]
    trust: Trust


async def expected(questions: Sequence[Question], count: int) -> Verdicts:
    """The verdicts on *count* questions, as many of each bench; trust is learned on all the others."""
    sample = _stratified(questions, count)
    chosen = {id(question) for question in sample}
    trust = await taught([question for question in questions if id(question) not in chosen], by_labels)
    rules = {
        StrategyName.FASTEST: raced(hedge_after=None),
        StrategyName.VOTING: decided(Voting(CLOCK, trust)),
        StrategyName.WEIGHTED: decided(Weighted(CLOCK, trust)),
        StrategyName.CONSENSUS: decided(Consensus(CLOCK, ConsensusRule(min_agreement=1.0))),
    }
    found = {name: [await _verdict(each, rule(each)) for each in sample] for name, rule in rules.items()}
    return Verdicts(sample, found, trust)


async def replayed(path: Path, verdicts: Verdicts) -> dict[StrategyName, int]:
    """By strategy, how many verdicts of the whole pool are the expected ones; *path* is the file of answers."""
    models = {name: f"{name}:recorded" for name in verdicts.questions[0].models}
    with patch.object(formulas, "IS_INSTALLED", new=False):  # the rules alone know no computer algebra either
        return await _replayed(path, verdicts, models)


async def _replayed(path: Path, verdicts: Verdicts, models: dict[str, str]) -> dict[StrategyName, int]:
    async with Upstream(models.values(), recorded=path) as up:
        with TemporaryDirectory() as folder:
            settings = config.load(_written(Path(folder), up.url, models, verdicts.questions))
            pool_state = msgspec.structs.replace(await PoolState.create(settings, ignore), trust=verdicts.trust)
            async with open_app(settings, pool_state=pool_state) as app:
                found = {name: await _agreeing(app, name, verdicts) for name in verdicts.expected}
            await pool_state.aclose()
    return found


async def _agreeing(app: App, strategy: StrategyName, verdicts: Verdicts) -> int:
    same = 0
    for question, wanted in zip(verdicts.questions, verdicts.expected[strategy], strict=True):
        query = Query(prompt=question.call.input, task=question.bench, strategy=strategy, max_tokens=100_000)
        same += await _verdict(question, app.orchestrator.infer(query)) == wanted
    return same


async def _verdict(question: Question, deciding: Awaitable[Decision | Answer]) -> str:
    """What was decided, or the name of the error."""
    try:
        found = await deciding
    except LlmPoolError as error:
        return type(error).__name__
    decision = found if isinstance(found, Decision) else found.decision
    return repr(agreement.key(question.call.task, decision.reading).shape)


def _stratified(questions: Sequence[Question], count: int) -> list[Question]:
    by_bench: dict[str, list[Question]] = defaultdict(list)
    by_prompt = {
        question.call.input: question for question in questions
    }  # the upstream knows questions by their prompt
    for question in by_prompt.values():
        by_bench[question.bench].append(question)
    each = -(-count // len(by_bench))
    return [q for mine in by_bench.values() for q in random.Random(0).sample(mine, min(each, len(mine)))]


def _written(folder: Path, url: str, models: dict[str, str], questions: Sequence[Question]) -> Path:
    """A configuration file of the models, with a prompt for each bench beside it."""
    prompts = folder / "prompts"
    prompts.mkdir()
    for bench in {question.bench for question in questions}:
        (prompts / f"{bench}.md").write_text(TASK, encoding="utf-8")
    providers = [
        f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nbase_url = "{url}"\nmodel = "{model}"\n'
        f"weight = {WEIGHTS.get(name, 1.0)}\n"
        for name, model in models.items()
    ]
    path = folder / "llm-pool.toml"
    path.write_text("\n".join([RULES, *providers]), encoding="utf-8")
    return path

"""How good models are: held-out inputs asked through the pool, as a user would ask them, and the answers measured."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from llm_pool.config import parse
from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.messages import Query
from llm_pool.engine.composition import open_app
from tools.pocket.measures import MEASURES
from tools.pocket.oracle import held_out

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App
    from tools.pocket.oracle import Example

_COMMON = """
[qos]
max_deadline_ms = 60000
[cache]
enabled = false
[groups.pocket]
slots = {slots}
"""
_PROVIDER = """
[[providers]]
name = "{name}"
driver = "llamacpp"
model = "{path}"
group = "pocket"
prompt_variant = "pocket"
"""


@dataclass(frozen=True)
class Report:
    """
    Figures of one task, asked in one way.

    Attributes:
        valid: share of answers that fit the schema, a ranking mended as the pool mends it.
        measures: means over the valid answers.
        times: seconds of each answer.
        calls: calls to models for each answer, on average.
        last: what was asked last, and what was answered.
    """

    task: str
    valid: float
    measures: dict[str, float]
    times: list[float]
    calls: float
    last: tuple[str, str]

    def line(self) -> str:
        """For a person."""
        figures = "; ".join(f"{name} {value:.2f}" for name, value in self.measures.items())
        times = f"{median(self.times) * 1e3:.0f} ms, p95 {sorted(self.times)[int(len(self.times) * 0.95)] * 1e3:.0f} ms"
        return f"{self.task}: valid {self.valid:.3f}; {figures}; {times}"


def configured(models: Mapping[str, Path], *, slots: int = 3) -> str:
    """
    A configuration of the GGUF files *models*, by provider name, of which *slots* answer at once.

    There is no cache, and a minute for each answer.
    """
    providers = (_PROVIDER.format(name=name, path=path.resolve()) for name, path in models.items())
    return "".join([_COMMON.format(slots=slots), *providers])


@asynccontextmanager
async def pool_of(models: Mapping[str, Path], *, slots: int = 3) -> AsyncIterator[App]:
    """The pool of that configuration, loaded."""
    async with open_app(parse(configured(models, slots=slots), Path("llm-pool.toml"))) as app:
        await app.warm()
        yield app


def inputs(*, count: int, seed: int) -> dict[str, list[Example]]:
    """*count* inputs of each of the six tasks that no training saw."""
    return {task: list(held_out(Random(seed), task, count)) for task in MEASURES}


async def check(app: App, examples: Sequence[Example], **asked: Any) -> Report:
    """The figures of *examples*, all of one task, each asked with the fields of Query in *asked*."""
    measured, times, calls, valid, last = defaultdict(list), [], 0, 0, ""
    for one in examples:
        began = time.perf_counter()
        answer = await ask(app, one, **asked)
        times.append(time.perf_counter() - began)
        if answer is not None:
            valid, last = valid + 1, answer.content
            calls += len(answer.decision.attempts)
            for name, figure in MEASURES[one.task](one.case, answer.json).items():
                measured[name].append(figure)
    means = {name: fmean(figures) for name, figures in measured.items()}
    share, asking = valid / len(examples), calls / max(1, valid)
    return Report(examples[0].task, share, means, times, asking, (examples[-1].prompt, last))


async def ask(app: App, example: Example, **asked: Any) -> Answer | None:
    """The pool's answer to *example*; None if no model gave a valid one."""
    try:
        return await app.orchestrator.infer(Query(prompt=example.case.text, task=example.task, **asked))
    except AllProvidersFailed:
        return None


def is_right(example: Example, answer: Answer) -> bool:
    """Whether every measure of the task is full: what a person would call good."""
    figures: Iterable[tuple[str, float]] = MEASURES[example.task](example.case, answer.json).items()
    return all(value == 1 for name, value in figures if name != "by chance")

"""How good a model is: held-out inputs asked as the pool asks them, with constrained decoding, and measured."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from llm_pool.providers.llamacpp import grammar
from llm_pool.reading import Unreadable, read
from llm_pool.tasks import load_tasks, prepare
from llm_pool.tasks.words import render
from tools.pocket.measures import MEASURES
from tools.pocket.oracle import held_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.messages import Json, Task
    from tools.pocket.oracle import Example

PROMPTS = Path(__file__).parents[2] / "prompts"


@dataclass(frozen=True)
class Report:
    """
    One task's figures.

    Attributes:
        valid: share of answers that fit the schema, a ranking mended as the pool mends it.
        times: seconds of each answer, on one core.
        last: the last example, with what the model said to it.
    """

    task: str
    valid: float
    measures: dict[str, float]
    times: list[float]
    last: Example
    last_answer: str

    def line(self) -> str:
        """For a person."""
        figures = "; ".join(f"{name} {value:.2f}" for name, value in self.measures.items())
        times = f"{median(self.times) * 1e3:.0f} ms, p95 {sorted(self.times)[int(len(self.times) * 0.95)] * 1e3:.0f} ms"
        return f"{self.task}: valid {self.valid:.3f}; {figures}; {times}"


def check(gguf: Path, *, count: int, seed: int) -> Iterator[Report]:
    """Reports of *gguf*, task by task, on *count* inputs each that training never saw."""
    server, tasks = _server(gguf), load_tasks([PROMPTS])
    for name in MEASURES:
        yield _report(server, tasks[name], list(held_out(Random(seed), name, count)))


def _report(server: Any, task: Task, examples: list[Example]) -> Report:
    measured, times, valid, text = defaultdict(list), [], 0, ""
    for one in examples:
        began = time.perf_counter()
        text, value = _ask(server, task, one)
        times.append(time.perf_counter() - began)
        if value is not None:
            valid += 1
            for name, figure in MEASURES[task.name](one.case, value).items():
                measured[name].append(figure)
    means = {name: fmean(figures) for name, figures in measured.items()}
    return Report(task.name, valid / len(examples), means, times, examples[-1], text)


def _ask(server: Any, task: Task, example: Example) -> tuple[str, Json]:
    ready = prepare(task, example.case.text)
    assert ready.schema is not None
    reply = server.handle_chat_completions(
        {
            "messages": [{"role": "user", "content": render(task.variants["pocket"], ready.input).user}],
            "grammar": grammar(ready.schema),
            "temperature": 0,
            "max_tokens": task.max_tokens,
        }
    )
    text = reply["choices"][0]["message"]["content"]
    try:
        found = read(text, schema=ready.schema, kind=task.kind, field=task.field, ids=ready.ids)
    except Unreadable:
        return text, None
    return text, found.value


def _server(gguf: Path) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = 2048
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.verbosity = 0
    return xllamacpp.Server(params)

"""A configuration of three models, and made-up answers of them, without any backend."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from llm_pool import config as configuration
from llm_pool.config import Config
from llm_pool.evaluation.answers import Answers, AskedQuestion, RecordedAnswer
from llm_pool.evaluation.evaluate import Evaluation, evaluate
from llm_pool.evaluation.questions import Question
from llm_pool.testing import VirtualLoop

if TYPE_CHECKING:
    from pathlib import Path

SKILLS = {"small": 0.5, "middle": 0.7, "large": 0.8}

Configure = Callable[..., Config]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes and reads a configuration of the three models, at *url*."""
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path / "state"))

    def write(more: str = "", url: str = "http://127.0.0.1:1") -> Config:
        path = tmp_path / "llm-pool.toml"
        providers = [
            f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nbase_url = "{url}"\nmodel = "{name}:1b"\n'
            for name in SKILLS
        ]
        path.write_text("\n".join([more, *providers]), encoding="utf-8")
        return configuration.load(path)

    return write


def made_up(count: int, *, expected: bool = True, skills: dict[str, float] | None = None) -> Answers:
    """Sums, and what each model said: right as often as it can, else a number of its own."""
    rng, answers = random.Random(7), Answers()
    for number in range(count):
        question = Question(
            id=f"q{number}", prompt=f"What is {number} + 1?", expected=str(number + 1) if expected else None
        )
        answers.add(AskedQuestion(question=question))
        for name, skill in (skills or SKILLS).items():
            said = number + 1 if rng.random() < skill else rng.randrange(5000, 9000)
            answers.add(an_answer(question.id, name, str(said)))
    return answers


def an_answer(question: str, provider: str, text: str, **more: object) -> RecordedAnswer:
    """An answer of one second."""
    facts = {"ttft": 0.2, "duration": 1.0, "completion_tokens": 10} | more
    return RecordedAnswer(  # type: ignore[arg-type]
        question=question, provider=provider, model=f"{provider}:1b", asked="x", text=text, **facts
    )


def questions_of(answers: Answers) -> Sequence[Question]:
    return list(answers.questions.values())


def evaluated(config: Config, answers: Answers, **options: object) -> Evaluation:
    """What ``evaluate`` says of all questions in *answers*, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(evaluate(config, answers, questions_of(answers), **options))  # type: ignore[arg-type]

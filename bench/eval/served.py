"""Recorded answers served over sockets, and asked for as `llm-pool eval` does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bench.quality.recorded import WEIGHTS
from bench.quality.upstream import TASK
from llm_pool import config as configuration
from llm_pool.evaluation.answers import Answers
from llm_pool.evaluation.questions import Question
from llm_pool.evaluation.recording import Asking, Recorder
from llm_pool.testing.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.config import Config

RULES: Final = """\
[qos]
max_deadline_ms = 60000
hedge = "off"

[ensemble]
disabled = ["JUDGE"]

[cache]
enabled = false

[trust]
enabled = false
"""
"""No JUDGE: the file has no judge. No hedge: the upstream answers at once, so who is late says nothing."""


async def recorded(path: Path, folder: Path) -> tuple[Config, Answers]:
    """The configuration, written to *folder*, and what its providers answered to every question of *path*."""
    rows = _rows(path)
    names = {_nickname(model): f"{_nickname(model)}:recorded" for model in rows[0]["models"]}
    names = {name: names[name] for name in sorted(names, key=list(WEIGHTS).index)}
    seen: dict[str, dict[str, Any]] = {row["prompt"]: row for row in rows}  # the upstream knows them by their prompt
    questions = [
        Question(id=row["id"][:150], prompt=row["prompt"], task=row["bench"], expected=row["gold"])
        for row in seen.values()
    ]
    answers = Answers()
    async with Upstream(names.values(), recorded=path) as up:
        config = configuration.load(_written(folder, up.url, names, {row["bench"] for row in rows}))
        await Recorder(Asking(config=config), answers, lambda _lines: None).ask(questions, lambda _d, _t: None)
    return config, answers


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _nickname(model: str) -> str:
    return next((short for short in WEIGHTS if short in model.lower()), model)


def _written(folder: Path, url: str, names: dict[str, str], tasks: set[str]) -> Path:
    prompts = folder / "prompts"
    prompts.mkdir()
    for task in tasks:
        (prompts / f"{task}.md").write_text(TASK, encoding="utf-8")
    providers = [
        f'[[providers]]\nname = "{name}"\ndriver = "ollama"\nbase_url = "{url}"\nmodel = "{model}"\n'
        f'group = "{name}"\nweight = {WEIGHTS.get(name, 1.0)}\n'
        for name, model in names.items()
    ]
    path = folder / "llm-pool.toml"
    path.write_text("\n".join([RULES, *providers]), encoding="utf-8")
    return path

"""
What an evaluation changes: strategies and weights in the configuration, as a diff; trust in the state folder.

A weight is the prior odds that a provider is right on any task (``trust.model``); here it becomes the odds on all
labelled questions that divided the models, as firm as trust's own prior lets so many say. Trust learns each labelled
question once, however often the same evaluation is applied.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from typing import TYPE_CHECKING, Any, Final

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import StrategyName
from llm_pool.evaluation.learning import taught
from llm_pool.trust.model import PRIOR, Record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.evaluation.evaluate import Evaluation
    from llm_pool.evaluation.learning import Labelled
    from llm_pool.trust.model import Trust
    from llm_pool.trust.store import TrustStore

MAX_APPLIED: Final = 100_000
"""Labelled questions that are remembered as learned."""


def changed_text(text: str, config: Config, evaluation: Evaluation) -> str:
    """
    The configuration *text* with the recommended strategies and the weights, its comments and the rest as they are.

    Raises:
        InvalidRequest: a provider or table stands in it in a way that cannot be changed here.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document: Any = tomlkit.parse(text)
        for section in evaluation.sections:
            if section.recommendation is not None:
                _set_strategy(document, config, section.task, section.recommendation.subject)
        for name, weight in weights(config, evaluation).items():
            for provider in document.get("providers", ()):
                if provider.get("name") == name and abs(float(provider.get("weight", 1.0)) - weight) >= 0.005:
                    provider["weight"] = weight
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, AttributeError) as error:
        raise InvalidRequest("--apply", f"cannot change {config.path}: {error}") from None


def _set_strategy(document: Any, config: Config, task: str, subject: str) -> None:
    """*subject* for *task*: a strategy's name, or the one model that answers it from now on."""
    import tomlkit

    is_strategy = subject in StrategyName.__members__
    strategy = subject if is_strategy else StrategyName.FASTEST.value
    own = document.get("tasks", {}).get(task, {})
    if "strategy" in own:
        own["strategy"] = strategy
    elif config.strategy_for(task).value != strategy:
        ensemble = document.setdefault("ensemble", tomlkit.table())
        ensemble.setdefault("strategy_by_task", tomlkit.table())[task] = strategy
    if not is_strategy:
        tasks = document.setdefault("tasks", tomlkit.table(is_super_table=True))
        tasks.setdefault(task, tomlkit.table())["providers"] = [subject]


def weights(config: Config, evaluation: Evaluation) -> dict[str, float]:
    """The weight of each provider that was evaluated, by its name: two digits after the point."""
    records: dict[str, Record] = {}
    for section in evaluation.sections:
        for one in taught(section.lessons).trust_records():
            kind, _, name = one.expert.partition(":")
            if kind == "provider":
                record = records.setdefault(name, Record())
                record.wins, record.losses = record.wins + one.wins, record.losses + one.losses
    found = {}
    for provider in config.active_providers:
        learned = records.get(provider.name)
        if learned is not None:
            right = learned.mean(0.5, PRIOR)  # not from the weight that is there: applied twice, it stays the same
            found[provider.name] = max(0.01, round(right / (1.0 - right), 2))
    return found


def diff(path: Path, before: str, after: str) -> str:
    """What changes, as a unified diff; empty if nothing does."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), f"{path} (recommended)"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def replace_file(path: Path, text: str) -> None:
    """Put *text* into the place of what *path* holds, whole or not at all; raises OSError."""
    path = path.resolve()
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8", newline="") as file:
        os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def teach(evaluation: Evaluation, store: TrustStore) -> int:
    """
    Teach the trust that is kept in *store* what was labelled and not taught before.

    Returns:
        How many questions were new.
    Raises:
        OSError: the state folder cannot be written.
    """
    known = store.path.with_name("evaluated.txt")
    done = known.read_text(encoding="ascii", errors="replace").split() if known.exists() else []
    lessons = {_mark(lesson): lesson for section in evaluation.sections for lesson in section.lessons}
    new = {mark: lesson for mark, lesson in lessons.items() if mark not in set(done)}
    if new:
        store.change(lambda trust: _teach(new.values(), trust))
        known.write_text("\n".join([*done, *new][-MAX_APPLIED:]) + "\n", encoding="ascii")
    return len(new)


def _teach(lessons: Iterable[Labelled], trust: Trust) -> None:
    for lesson in lessons:
        lesson.teach(trust)


def _mark(lesson: Labelled) -> str:
    """A name of what a labelled question teaches: the question, and who is right."""
    said = f"{lesson.read.question.task}\0{lesson.read.question.prompt}\0{sorted(lesson.right.items())}"
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

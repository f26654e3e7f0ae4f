"""Recorded answers as questions that the engine has read."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from llm_pool import agreement
from llm_pool.core.interfaces import Member
from llm_pool.core.messages import Attempt, Call, Decision, Prompt, Reading, Task
from llm_pool.ensemble.attempts import AttemptGroup
from llm_pool.testing import Reply, ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS: Final = {"phi": 0.6, "llama": 1.0, "gemma": 0.8}
"""Of the default configuration; a model is one of these if its name says so."""
ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "answer": {}},
    "required": ["answer"],
}

FIRST_TOKEN: Final = 0.3
TOKENS_PER_S: Final = {"phi": 120.0, "llama": 70.0, "gemma": 55.0}
"""On a card of 8 GB, as in ``bench/swap.py``; 70 for other models."""
LETTERS_PER_TOKEN: Final = 4
PATIENCE: Final = 600.0
"""Seconds of virtual time for a question, so that no recorded answer is late."""


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
        """By our own comparison with gold."""
        return agreement.same(agreement.canonical(reading.value["answer"]), agreement.canonical(self.gold))

    def is_right(self, decision: Decision) -> bool:
        """Whether the winner is right."""
        return self.right(decision.winner, decision.reading)

    def asked_now(self) -> Call:
        """The question with its time beginning now."""
        now = asyncio.get_running_loop().time()
        return msgspec.structs.replace(self.call, began=now, deadline=now + PATIENCE)

    def panel_on(self, machine: str = "") -> list[Member]:
        """The models, ready to say it again: all on one *machine*, else each on its own."""
        return [
            Member(
                provider=ScriptedProvider(name, _reply(name, said["raw"])),
                model=name,
                weight=WEIGHTS.get(name, 1.0),
                group=machine or name,
                rank=rank,
            )
            for rank, (name, said) in enumerate(self.models.items())
        ]


async def load(lines: Sequence[str]) -> list[Question]:
    """The questions of a file, each asked of all its models through scripted providers."""
    return [await _asked(json.loads(line)) for line in lines]


async def _asked(row: dict[str, Any]) -> Question:
    models = dict(sorted(((_nickname(name), said) for name, said in row["models"].items()), key=_rank))
    task = Task(name=row["bench"], template="", output_schema=ANSWER, kind="value", field="answer")
    call = Call(
        request_id=row["id"],
        task=task,
        input=row["prompt"],
        prompt=Prompt("", row["prompt"]),
        schema=ANSWER,
        ids=(),
        max_tokens=2048,
        temperature=0.0,
        began=0.0,
        deadline=0.0,
    )
    question = Question(row["bench"], row["gold"], models, call, [], ())
    panel, asked = question.panel_on(), question.asked_now()
    async with AttemptGroup(ignore) as attempt_group:
        for member in panel:
            attempt_group.start(member, asked, why="vote")
        async for _ in attempt_group.as_completed():
            pass
    return question._replace(call=asked, panel=panel, attempts=attempt_group.attempts)


def ignore(_: object) -> None:
    """Nobody listens."""


def _reply(name: str, raw: str) -> Reply:
    """*raw* in the time it takes *name* to write so many letters."""
    writing = len(raw) / LETTERS_PER_TOKEN / TOKENS_PER_S.get(name, 70.0)
    return Reply(raw, ttft=FIRST_TOKEN, duration=FIRST_TOKEN + writing)


def _nickname(model: str) -> str:
    """``phi`` for Phi-3.5-mini-instruct, and so on; other models keep their name."""
    return next((short for short in WEIGHTS if short in model.lower()), model)


def _rank(item: tuple[str, Any]) -> int:
    return [*WEIGHTS].index(item[0]) if item[0] in WEIGHTS else len(WEIGHTS)

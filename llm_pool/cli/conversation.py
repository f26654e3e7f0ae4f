"""A conversation with the pool: what was said, how the next question is asked, and the file that keeps it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.messages import Query, StrategyName, Turn

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 20
"""Bytes of a conversation that are kept; of a longer one the end."""


class Conversation(msgspec.Struct, kw_only=True):
    """
    What was said, the oldest first, and how the next question is asked.

    Attributes:
        provider: the only one that is asked; empty: the task's panel.
        system: what the models are told before all of it; may be empty.
    """

    turns: list[Turn] = msgspec.field(default_factory=list)
    strategy: StrategyName | None = None
    provider: str = ""
    system: str = ""

    def question(self, text: str, limit: int) -> tuple[Query, int]:
        """
        The query that *text* is in this conversation, and how many of the oldest turns do not fit into it.

        Args:
            text: what is asked now.
            limit: UTF-8 bytes of a query, turns included.
        """
        before = (Turn("system", self.system),) if self.system else ()
        room = limit - sum(len(part.encode()) for part in (text, self.system))
        first = len(self.turns)
        while first >= 2 and (room := room - _size(self.turns[first - 2 : first])) >= 0:
            first -= 2
        turns = (*before, *self.turns[first:])
        providers = (self.provider,) if self.provider else ()
        return Query(prompt=text, turns=turns, strategy=self.strategy, providers=providers), first

    def add(self, question: str, answer: str) -> None:
        """Both were said."""
        self.turns += [Turn("user", question), Turn("assistant", answer)]

    def take_back(self) -> str | None:
        """The last question, which with its answer was never said; None where nothing was."""
        if not self.turns:
            return None
        question = self.turns[-2].text
        del self.turns[-2:]
        return question

    def save(self, path: Path) -> None:
        """Keep it in *path*, for its owner alone; raises OSError."""
        kept = msgspec.structs.replace(self, turns=list(self.turns))
        while kept.turns and _size(kept.turns) > MAX_BYTES:
            del kept.turns[:2]
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.touch(0o600)
        new.write_bytes(msgspec.json.encode(kept))
        new.replace(path)

    def as_markdown(self) -> str:
        """All of it, to be read."""
        names = {"user": "You", "assistant": "Pool", "system": "System"}
        said = [Turn("system", self.system), *self.turns] if self.system else self.turns
        return "\n\n".join(f"**{names.get(turn.role, turn.role)}:**\n\n{turn.text}" for turn in said) + "\n"


def load_conversation(path: Path) -> Conversation | None:
    """The one that *path* keeps; None where there is none that can be read."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Conversation)
    except (OSError, msgspec.DecodeError):
        return None
    return found if len(found.turns) % 2 == 0 else None


def conversation_path() -> Path:
    """Where the last conversation is kept; the file need not exist."""
    from llm_pool.trust.learning import state_folder

    return state_folder() / "chat.json"


def _size(turns: list[Turn]) -> int:
    return sum(len(turn.text.encode(errors="replace")) for turn in turns)

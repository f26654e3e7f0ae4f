"""The messages of a chat, as different templates want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Prompt

Message: TypeAlias = dict[str, str]
_APART = "\n\n"


def chat_messages(prompt: Prompt) -> list[Message]:
    """
    The messages of *prompt*, as chat APIs take them.

    All system texts are one message at the beginning: many chat templates refuse any other.
    """
    system = [text for text in (prompt.system, *(t.text for t in prompt.turns if t.role == "system")) if text]
    said = [{"role": turn.role, "content": turn.text} for turn in prompt.turns if turn.role != "system"]
    first = [{"role": "system", "content": _APART.join(system)}] if system else []
    return [*first, *said, {"role": "user", "content": prompt.user}]


def folded(messages: Sequence[Message]) -> list[Message]:
    """*messages* with the system text at the head of the first turn of the user, for a template without that role."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    said = [message for message in messages if message["role"] != "system"]
    if not system:
        return said
    text = _APART.join(system)
    if said and said[0]["role"] == "user":
        return [{"role": "user", "content": f"{text}{_APART}{said[0]['content']}"}, *said[1:]]
    return [{"role": "user", "content": text}, *said]


def merged(messages: Sequence[Message]) -> list[Message]:
    """*messages* with neighbours of one role as one, for a template in which roles take turns."""
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = {"role": message["role"], "content": f"{turns[-1]['content']}{_APART}{message['content']}"}
        else:
            turns.append(message)
    return turns

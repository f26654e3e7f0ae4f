"""The messages of a chat, as different servers and templates want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from llm_pool.core.messages import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llm_pool.core.messages import Json, Prompt

Message: TypeAlias = dict[str, Any]
_APART = "\n\n"


def openai_messages(prompt: Prompt) -> list[Message]:
    """
    The messages of *prompt*, as OpenAI's chat API takes them.

    All system texts are one message at the beginning: many chat templates refuse any other.
    """
    return _arranged(prompt, _openai_message)


def ollama_messages(prompt: Prompt) -> list[Message]:
    """The messages of *prompt*, as Ollama's API takes them; system texts as above."""
    names = {call.id: call.name for turn in prompt.turns for call in turn.tool_calls}
    return _arranged(prompt, lambda turn: _ollama_message(turn, names.get(turn.tool_call_id, "")))


def _arranged(prompt: Prompt, message: Callable[[Turn], Message]) -> list[Message]:
    if not (prompt.turns or prompt.images):
        asked: Message = {"role": "user", "content": prompt.user}
        return [{"role": "system", "content": prompt.system}, asked] if prompt.system else [asked]
    system = [text for text in (prompt.system, *(t.text for t in prompt.turns if t.role == "system")) if text]
    first = [{"role": "system", "content": _APART.join(system)}] if system else []
    asks = prompt.user or prompt.images or not prompt.turns
    last = (Turn("user", prompt.user, images=prompt.images),) if asks else ()
    return [*first, *(message(turn) for turn in (*prompt.turns, *last) if turn.role != "system")]


def _openai_message(turn: Turn) -> Message:
    message: Message = {"role": turn.role, "content": turn.text}
    if turn.images:
        shown = [{"url": f"data:{image.media_type};base64,{image.data}"} for image in turn.images]
        text = [{"type": "text", "text": turn.text}] if turn.text else []
        message["content"] = [*text, *({"type": "image_url", "image_url": image} for image in shown)]
    if turn.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.tool_calls
        ]
    if turn.role == "tool":
        message["tool_call_id"] = turn.tool_call_id
    return message


def _ollama_message(turn: Turn, answers: str) -> Message:
    """*turn* in Ollama's words; *answers* is the name of the tool whose result it is."""
    message: Message = {"role": turn.role, "content": turn.text}
    if turn.images:
        message["images"] = [image.data for image in turn.images]
    if turn.tool_calls:
        message["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in turn.tool_calls
        ]
    if turn.role == "tool":
        message |= {"tool_name": answers, "tool_call_id": turn.tool_call_id}
    return message


def _object(arguments: str) -> Json:
    return msgspec.json.decode(arguments)


def folded(messages: Sequence[Message]) -> list[Message]:
    """*messages* with the system text at the head of the first turn of the user, for a template without that role."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    said = [message for message in messages if message["role"] != "system"]
    if not system:
        return said
    text = _APART.join(system)
    if said and said[0]["role"] == "user":
        return [{**said[0], "content": _joined(text, said[0]["content"])}, *said[1:]]
    return [{"role": "user", "content": text}, *said]


def merged(messages: Sequence[Message]) -> list[Message]:
    """
    *messages* with neighbours of one role as one, for a template in which roles take turns.

    Calls and their results stay as they are: each belongs to one message.
    """
    turns: list[Message] = []
    for message in messages:
        if turns and turns[-1]["role"] == message["role"] and _is_text(turns[-1]) and _is_text(message):
            turns[-1] = {"role": message["role"], "content": f"{turns[-1]['content']}{_APART}{message['content']}"}
        else:
            turns.append(message)
    return turns


def _joined(text: str, content: Json) -> Json:
    """*text* before *content*, which is text or a list of parts."""
    return f"{text}{_APART}{content}" if isinstance(content, str) else [{"type": "text", "text": text}, *content]


def _is_text(message: Message) -> bool:
    return message.keys() == {"role", "content"} and isinstance(message["content"], str) and message["role"] != "tool"

"""What the scripted models say: a function's word first, then a recording, then something sensible."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from llm_pool.testing.upstream.instances import instance

if TYPE_CHECKING:
    from pathlib import Path


class TextRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    A request for text, whatever its dialect.

    Attributes:
        text: the user's turns and the system's, joined.
        user: the last user's turn alone.
        schema: JSON Schema of the wanted output; an empty dict means any JSON object; None means text.
        top_logprobs: alternatives asked for per token; None asks for no logprobs.
        thinks: False where the request switches reasoning off.
        tools: the functions that are offered, as the request has them.
        must_call: a call is asked for, of *named_tool* where that is not empty.
        results: what tools gave, where the conversation ends with that.
        images: pictures that the last turn shows, as base64.
    """

    model: str
    text: str
    user: str
    stream: bool = True
    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    top_logprobs: int | None = None
    thinks: bool = True
    tools: tuple[dict[str, Any], ...] = ()
    must_call: bool = False
    named_tool: str = ""
    results: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


class ScriptedCall(msgspec.Struct, frozen=True):
    """A call of a tool; *arguments* is JSON text, as whole as the test wants it."""

    name: str
    arguments: str = "{}"


class ScriptedAnswer(msgspec.Struct, frozen=True):
    """
    An answer.

    Attributes:
        ttft, duration: seconds to the first and the last token, where they are known; else they are modelled.
        top: the alternatives weighed for the first token, as (token, natural logarithm), for requests with logprobs.
        finish: why it ends; a request's own token limit may still cut it shorter.
        reasoning: what is thought before *text*, unless the request switches it off; its tokens count too.
        calls: what is called after *text*.
    """

    text: str
    ttft: float | None = None
    duration: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    finish: str = "stop"
    reasoning: str = ""
    calls: tuple[ScriptedCall, ...] = ()


AnswerFunction: TypeAlias = Callable[[TextRequest], "str | ScriptedAnswer | None"]
"""The test's own word on a request; None leaves it to the recording or the generator."""

NONSENSE = ScriptedAnswer("I would rather talk about the weather, which is mild.")


class Recordings:
    """
    Answers that real models gave, from a file of JSON lines.

    A line is ``{"prompt": TEXT, "models": {NAME: {"raw": TEXT, "reasoning": TEXT, "ttft": S, "duration": S}}}``; the
    reasoning and the times, in seconds, may be missing, and other fields are ignored. A request is matched by the
    longest recorded prompt that its text contains, and by the model's name: the same, or the family in it
    (``phi3:mini`` finds ``Phi-3-mini-4k-instruct``).
    """

    def __init__(self, path: Path) -> None:
        rows = [msgspec.json.decode(line) for line in path.read_bytes().splitlines() if line.strip()]
        rows.sort(key=lambda row: -len(row["prompt"]))
        self._rows: dict[str, dict[str, Any]] = {row["prompt"].strip(): row["models"] for row in rows}

    def __call__(self, text_request: TextRequest) -> ScriptedAnswer | None:
        """What the model said to this prompt, if it was recorded."""
        models = self._rows.get(text_request.user.strip()) or next(
            (m for p, m in self._rows.items() if p in text_request.text), {}
        )
        family = _letters(text_request.model.partition(":")[0])
        for name, answer in models.items():
            if name == text_request.model or family in _letters(name):
                times = answer.get("ttft"), answer.get("duration")
                return ScriptedAnswer(answer["raw"], *times, reasoning=answer.get("reasoning", ""))
        return None


def generated(text_request: TextRequest) -> ScriptedAnswer:
    """
    Something sensible: a call of the tool that must be called, the first where any may be; an instance of the schema if
    there is one; a letter, by a clear margin, where one token is asked for with its alternatives, as a judge does; else
    a sentence that repeats the question.
    """
    if text_request.must_call:
        named = (tool for tool in text_request.tools if tool["name"] == text_request.named_tool)
        tool = next(named, text_request.tools[0])
        arguments = instance(tool.get("parameters") or {"type": "object"})
        return ScriptedAnswer("", calls=(ScriptedCall(tool["name"], msgspec.json.encode(arguments).decode()),))
    if text_request.schema is not None:
        value = instance(text_request.schema) if text_request.schema else {"answer": "yes"}
        return ScriptedAnswer(msgspec.json.encode(value).decode())
    if text_request.top_logprobs and text_request.max_tokens == 1:
        return ScriptedAnswer("A", top=(("A", -0.25), ("B", -1.75), ("C", -3.0), ("D", -4.0)))
    question = " ".join(text_request.user.split()[:20])
    return ScriptedAnswer(f"{text_request.model} heard: {question}")


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())

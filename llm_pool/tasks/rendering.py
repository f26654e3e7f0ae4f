"""From a template and an input to the words that a model is shown. The input is data: nothing in it is obeyed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Image, Json, Turn

INPUT = "{{input}}"
"""Where a template takes the input; once."""
MAX_AT_ONCE = 32_768
"""Characters that are made harmless in 5 ms, whatever they are."""
MAX_MARKER = 64
"""Characters of a marker; the longest is ``<|`` and a name of 40."""
USER = "\n---user---\n"
"""The line that parts a template's system text from the user's turn."""

# The tokens by which chat templates of Llama, Gemma, Phi, Qwen, Mistral and DeepSeek mark who is speaking.
_MARKER = re.compile(
    r"<(?=\|[^|<>\s]{1,40}\|>|\uff5c|/?s>|<?/?SYS>>|(?:start|end)_of_turn>|(?:bos|eos|pad|unk)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def render(template: str, value: Json, turns: Sequence[Turn] = (), images: tuple[Image, ...] = ()) -> Prompt:
    """
    *template* with *value* in it ``neutralized``: text as it is, anything else as JSON on one line; *turns* before it.

    An empty text after turns asks nothing more: they stand alone. *images* go with the value.

    Raises:
        InvalidRequest: *value* holds half a surrogate pair, which no backend could be sent.
    """
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = neutralized(shown)
    try:
        shown.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("prompt", f"half a character (a lone surrogate) at position {error.start}") from error
    system, _, user = template.rpartition(USER)
    asked = user.strip().replace(INPUT, shown) if shown or images or not turns else ""
    return Prompt(system.strip(), asked, tuple(map(_neutral_turn, turns)), images)


def _neutral_turn(turn: Turn) -> Turn:
    """*turn* without power over a chat template; the JSON of its calls stays JSON."""
    calls = (msgspec.structs.replace(call, arguments=neutralized(call.arguments)) for call in turn.tool_calls)
    return msgspec.structs.replace(turn, text=neutralized(turn.text), tool_calls=tuple(calls))


def neutralized(text: str) -> str:
    """
    *text* without power over a chat template.

    Control characters become spaces, and chat markers get a space behind their first bracket (``< |im_start|>``),
    which no tokenizer takes for the marker. A long text is read in pieces, so that a thread can be put aside between.
    """
    pieces = (_neutralized(text, at) for at in range(0, len(text), MAX_AT_ONCE))
    return "".join(pieces)


def _neutralized(text: str, start: int) -> str:
    """The piece of *text* from *start* on; what begins in it is a marker, wherever that ends."""
    piece = _CONTROL.sub(" ", text[start : start + MAX_AT_ONCE + MAX_MARKER])
    opened, at = [], 0
    for match in _MARKER.finditer(piece):
        if match.start() >= MAX_AT_ONCE:
            break
        opened.append(piece[at : match.end()])
        at = match.end()
    return " ".join([*opened, piece[at:MAX_AT_ONCE]])

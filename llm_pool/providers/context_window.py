"""How long a context a prompt needs, so that Ollama is asked for one that holds it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from llm_pool.core.errors import PromptTooLong

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_pool.core.messages import Prompt, Tool

DEFAULT: Final = 4096
"""Tokens that Ollama gives where it is not asked for more, on the smallest machines."""
LARGEST: Final = 1 << 20
"""Tokens asked for at most; the server cuts this down to what the model has."""

_BYTES_PER_TOKEN: Final = 3
"""Fewer than texts have, which is 4 in English: a context that is too long costs memory, one too short the answer."""
_SHAPE: Final = bytes(ord(" " if chr(byte).isspace() and byte < 128 else "x") for byte in range(256))
_TEMPLATE: Final = 64
"""Tokens that a chat template adds."""
_PROMPT_TOKENS: Final = re.compile(r"request \(([0-9]{1,9}) tokens\) exceeds")
"""How llama-server, and so Ollama, says that a prompt is too long."""
_ANSWER: Final = 1024
"""Tokens left for an answer of no stated length."""
_IMAGE: Final = 1024
"""Tokens that a picture takes, about: from 256 (Gemma 3) to some thousands for the largest."""


def estimated_tokens(prompt: Prompt, tools: Sequence[Tool] = ()) -> int:
    """Tokens that *prompt* and what is said of *tools* have at most, as texts are."""
    size = sum(len(text.encode("utf-8", "replace")) for text in _texts(prompt)) + len(msgspec.json.encode(tools))
    pictures = len(prompt.images) + sum(len(turn.images) for turn in prompt.turns)
    return size // _BYTES_PER_TOKEN + pictures * _IMAGE + _TEMPLATE


def fewest_tokens(prompt: Prompt) -> int:
    """Tokens that *prompt* has at least: no tokenizer in use joins two words that a space divides."""
    return sum(_words(text) for text in _texts(prompt))


def may_have_more_tokens(prompt: Prompt, tokens: int) -> bool:
    """Whether ``fewest_tokens`` can be over *tokens*: a word and what parts it from the next take two characters."""
    return bool(prompt.turns) or (len(prompt.system) + len(prompt.user)) // 2 >= tokens


def _words(text: str) -> int:
    """Words of *text* that white space of ASCII parts: a millisecond for a megabyte, where ``split`` takes sixty."""
    shape = b" " + text.encode("utf-8", "replace").translate(_SHAPE)
    return shape.count(b" x")


class ContextWindow:
    """
    The context that one model is asked for: as configured, else enough for each prompt.

    A model is loaded anew for every other length, so lengths are powers of two, and never become smaller again.

    Args:
        configured: tokens; None: as each prompt needs.

    Attributes:
        asked: tokens that prompts have made us ask for; None: none needed more than the server gives unasked.
    """

    def __init__(self, configured: int | None = None) -> None:
        self._configured = configured
        self._served = DEFAULT
        self.asked: int | None = None

    @property
    def current(self) -> int | None:
        """Tokens that are asked for whatever the prompt; None: none so far."""
        return self.asked if self._configured is None else self._configured

    def note_served(self, tokens: int | None) -> None:
        """The server has loaded the model with a context of *tokens*."""
        self._served = max(DEFAULT, tokens or 0)

    def grown_for(self, error: str, answer: int | None) -> int | None:
        """
        Tokens to ask for instead, by an *error* that says how many the prompt has; None where that cannot help.

        The estimate was too low: some texts, of digits or rare letters, have a token for every byte or two.
        """
        found = _PROMPT_TOKENS.search(error)
        if self._configured is not None or found is None:
            return None
        needed = int(found[1]) + (_ANSWER if answer is None else answer)
        if needed <= (self.asked or 0) or needed > LARGEST:
            return None
        self.asked = 1 << (needed - 1).bit_length()
        return self.asked

    def size_for(self, prompt: Prompt, answer: int | None, *, tools: Sequence[Tool] = ()) -> int | None:
        """
        Tokens to ask for; None: what the server gives unasked will do.

        Args:
            prompt: what is asked.
            answer: tokens the answer may have; None: nobody says.
            tools: described beside the prompt.
        """
        if self._configured is not None:
            return self._configured
        needed = estimated_tokens(prompt, tools) + (_ANSWER if answer is None else answer)
        if needed > (self.asked or self._served):
            self.asked = min(LARGEST, 1 << (needed - 1).bit_length())
        return self.asked


def check_fits(provider: str, prompt: Prompt, context: int | None) -> None:
    """
    Refuse a *prompt* that has more words than the *context* has tokens; None: not known, nothing is refused.

    Raises:
        PromptTooLong: it has.
    """
    if context is None or not may_have_more_tokens(prompt, context):
        return
    if (fewest := fewest_tokens(prompt)) > context:
        raise PromptTooLong(
            provider,
            f"the prompt has {fewest} tokens at least, its context {context}",
            hint=f"shorten the prompt, or raise context of provider {provider}",
        )


def complaint(prompt: Prompt, counted: int | None, size: int | None) -> str:
    """
    What to tell where the backend has counted fewer tokens than *prompt* has words; empty where all is well.

    Args:
        prompt: what was asked.
        counted: tokens of the prompt by the backend's count; None: it does not say.
        size: tokens of context that were asked for, if any.
    """
    if counted is None or not may_have_more_tokens(prompt, counted):
        return ""
    if counted >= (fewest := fewest_tokens(prompt)):
        return ""
    window = "" if size is None else f" (num_ctx {size})"
    return f"the prompt was cut: {counted} tokens were read of {fewest} at least{window}; set context"


def _texts(prompt: Prompt) -> Iterator[str]:
    yield prompt.system
    yield prompt.user
    for turn in prompt.turns:
        yield turn.text
        yield from (call.arguments for call in turn.tool_calls)

"""What a server says of the end of an answer. Only a word that is known to be good makes an answer of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from llm_pool.core.messages import FinishReason, Json

_GOOD: Final[dict[str, FinishReason]] = {
    **dict.fromkeys(
        (
            *("stop", "stopsequence", "stopstringfound", "stoptoken", "word"),
            *("eos", "eostoken", "eosfound", "endturn", "endofturn", "endofsequence"),
            *("toolcall", "toolcalls", "tooluse", "functioncall"),
            *("complete", "completed", "done"),
        ),
        "stop",
    ),
    **dict.fromkeys(
        (
            *("length", "limit", "maxlength", "modellength", "tokenlimit"),
            *("maxtokens", "maxoutputtokens", "maxpredictedtokensreached"),
            *("contextlengthreached", "modelcontextwindowexceeded"),
        ),
        "length",
    ),
    "repetition": "repetition",
}
"""
Letters of the words with which servers end an answer.

Sources: the APIs of OpenAI, Anthropic, Mistral, Cohere and Gemini; Ollama, api/types.go; llama.cpp, tools/server
(``stop_type``); vLLM, v1/engine (``FINISH_REASON_STRINGS``); TGI; LM Studio's ``stopReason``.
"""
_BAD: Final = frozenset(
    {
        *("abort", "aborted", "cancel", "cancelled", "canceled", "userstopped", "modelunloaded"),
        *("error", "failed", "failure", "timeout", "networkerror", "insufficientsystemresource"),
        *("contentfilter", "safety", "sensitive", "recitation", "refusal", "blocklist", "prohibitedcontent"),
    }
)
_NONE: Final = frozenset({"none", "null"})
_WITHHELD: Final = frozenset({"contentfilter", "safety", "sensitive", "recitation", "blocklist", "prohibitedcontent"})


def word_of(value: Json) -> str:
    """
    The word in a ``finish_reason``; empty while none is said.

    SGLang's own API puts it into an object; a server in Python may write its ``None`` as a word.
    """
    if isinstance(value, dict):
        value = value.get("type")
    return value if isinstance(value, str) and value.lower() not in _NONE else ""


def finish_of(word: str) -> FinishReason | None:
    """Why an answer ends that ends with *word*; None for a word that is bad or that nobody knows."""
    return _GOOD.get(_letters(word))


def is_bad(word: str) -> bool:
    """Whether *word* is known to say that the answer broke off."""
    return _letters(word) in _BAD


def is_withheld(word: str) -> bool:
    """Whether *word* says that a filter took the answer back: asking again does not help."""
    return _letters(word) in _WITHHELD


def _letters(word: str) -> str:
    return "".join(filter(str.isalpha, word)).lower()

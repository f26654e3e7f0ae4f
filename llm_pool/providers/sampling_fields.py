"""
Sampling fields beyond the common ones, which only some servers know: they go to a single provider that a client names.

Names are those of the OpenAI-shaped APIs of vLLM, SGLang and llama-server. None of them can change what is asked, of
which model, or how it is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from llm_pool.config.values import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llm_pool.core.messages import Json

_OLLAMA: Final = {
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repetition_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Ollama's options, by the fields that mean them; https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx."""
_OPENAI: Final = (
    *_OLLAMA,
    "top_a",
    "top_n_sigma",
    "mirostat",
    "mirostat_tau",
    "mirostat_eta",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
    "dry_penalty_last_n",
    "xtc_probability",
    "xtc_threshold",
    "min_tokens",
    "ignore_eos",
    "stop_token_ids",
    "bad_words",
    "skip_special_tokens",
    "include_stop_str_in_output",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "regex",
    "ebnf",
    "grammar",
    "chat_template_kwargs",
    "verbosity",
    "prediction",
    "user",
)
TAKEN: Final[Mapping[Driver, Mapping[str, str]]] = {
    Driver.OLLAMA: _OLLAMA,
    Driver.OPENAI: {name: name for name in _OPENAI},
}
"""What a provider of a driver takes: the name in its server's words, by the field's. Other drivers take none."""


def taken_by(driver: Driver, extra: Mapping[str, Json]) -> dict[str, Json]:
    """Those of *extra* that a provider of *driver* takes, in its server's words."""
    words = TAKEN.get(driver, {})
    return {words[name]: value for name, value in extra.items() if name in words}

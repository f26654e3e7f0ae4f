"""
What backends say of their models, read into one struct.

Pure readers: JSON in, facts out. What is missing, null or of another type is not known; it is never an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.core.messages import ModelFacts
from llm_pool.providers.model_names import is_cloud_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_pool.core.messages import Json

ONLY_EMBEDS: Final = "makes embeddings: it does not answer questions"
MAX_MODELS: Final = 10_000
"""Models of one server that are looked at."""
_LOADED: Final = {"loaded": True, "sleeping": True, "unloaded": False, "loading": False, "downloading": False}
"""A router's words for a model's status, and whether it answers without a load."""
_KINDS: Final = {
    "llm": frozenset({"completion"}),
    "vlm": frozenset({"completion", "vision"}),
    "embeddings": frozenset({"embedding"}),
    "embedding": frozenset({"embedding"}),
}
"""LM Studio's types of model."""
_FLAGS: Final = {"vision": "vision", "trained_for_tool_use": "tools", "reasoning": "thinking"}
"""LM Studio's capabilities."""

_SYNONYMS: Final = {"tool_use": "tools", "multimodal": "vision"}
"""LM Studio's word and llama-server's for what others call so."""


def entries(listed: Json) -> list[dict[str, Any]]:
    """
    The models in a list as servers write it: under ``data`` or ``models``, bare, or null; objects or names.

    llama-server has both, and says in ``models`` alone what a model can do.

    Raises:
        ValueError: it is no such list.
    """
    twins: dict[str, dict[str, Any]] = {}
    if isinstance(listed, dict):
        if isinstance(listed.get("data"), list) and isinstance(listed.get("models"), list):
            both = (one for one in listed["models"][:MAX_MODELS] if isinstance(one, dict))
            twins = {name_of(one): {"capabilities": one.get("capabilities")} for one in both}
        listed = next((listed[key] for key in ("data", "models") if isinstance(listed.get(key), list)), _empty(listed))
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise ValueError("it is no list of models")  # noqa: TRY004 -- a server's words, not a caller's mistake
    found = ({"id": one} if isinstance(one, str) else one for one in listed[:MAX_MODELS])
    return [{**twins.get(name, {}), **one} for one in found if isinstance(one, dict) and (name := name_of(one))]


def name_of(entry: dict[str, Any]) -> str:
    """The name of a model in a list; empty where it has none."""
    return next((name for key in ("id", "name", "model", "key") if (name := _text(entry.get(key)))), "")


def from_openai(entry: dict[str, Any]) -> ModelFacts:
    """
    Facts of an entry of ``/v1/models``, or of LM Studio's ``/api/v0/models``.

    vLLM and SGLang say ``max_model_len``; llama-server ``meta`` and, as a router, ``status``; LM Studio ``type``,
    ``state`` and its two lengths.
    """
    meta = _object(entry.get("meta"))
    status = _text(_object(entry.get("status")).get("value"))
    state = _text(entry.get("state"))
    loaded = _LOADED.get(status) if status else {"loaded": True, "not-loaded": False}.get(state)
    return ModelFacts(
        name=name_of(entry),
        context=_first_count(
            entry.get("max_model_len"),
            entry.get("loaded_context_length"),
            meta.get("n_ctx"),
            entry.get("max_context_length"),
            meta.get("n_ctx_train"),
            entry.get("context_length"),
        ),
        capabilities=_openai_capabilities(entry),
        family=_text(entry.get("arch")),
        size=_count(meta.get("size")),
        loaded=loaded,
    )


def with_props(facts: ModelFacts, props: Json) -> ModelFacts:
    """*facts* with what llama-server's ``/props`` says beside them: the context of a slot, and how many there are."""
    said = _object(props)
    generation = _object(said.get("default_generation_settings"))
    return msgspec.structs.replace(
        facts,
        context=_count(generation.get("n_ctx")) or facts.context,
        slots=_count(said.get("total_slots")) or facts.slots,
    )


def from_ollama(entry: dict[str, Any]) -> ModelFacts:
    """Facts of an entry of ``/api/tags`` or ``/api/ps``."""
    details = _object(entry.get("details"))
    name = name_of(entry)
    return ModelFacts(
        name=name,
        context=_count(entry.get("context_length")) or _count(details.get("context_length")),
        capabilities=_words(entry.get("capabilities")),
        family=_text(details.get("family")),
        size=_count(entry.get("size")),
        remote=bool(entry.get("remote_host") or entry.get("remote_model")) or is_cloud_name(name),
    )


def with_shown(facts: ModelFacts, shown: Json) -> ModelFacts:
    """*facts* with what Ollama's ``/api/show`` says beside them; what is loaded now is known better than it."""
    said = _object(shown)
    info = _object(said.get("model_info"))
    family = _text(_object(said.get("details")).get("family")) or _text(info.get("general.architecture"))
    lengths = [_count(value) for key, value in info.items() if key.endswith(".context_length")]
    return msgspec.structs.replace(
        facts,
        context=facts.context or next((length for length in lengths if length), None),
        capabilities=_words(said.get("capabilities")) or facts.capabilities,
        family=facts.family or family,
        remote=facts.remote or bool(said.get("remote_host")),
    )


def _openai_capabilities(entry: dict[str, Any]) -> frozenset[str] | None:
    known = _KINDS.get(_text(entry.get("type")))
    if known is None:
        outputs = _words(_object(entry.get("architecture")).get("output_modalities"))
        if outputs is not None:
            known = frozenset({"completion"}) if "text" in outputs else outputs
    named = entry.get("capabilities")
    if isinstance(named, dict):
        more = {word for flag, word in _FLAGS.items() if named.get(flag)}
    else:
        more = {_SYNONYMS.get(word, word) for word in _words(named) or ()}
    if known is None:
        return frozenset(more) if more & {"completion", "embedding"} else None  # a list may tell but of extras
    return known | more


def _empty(listed: dict[str, Any]) -> Json:
    """None for an object whose list is null or missing, the object itself for one that is about something else."""
    return None if not listed or {"data", "models", "object"} & listed.keys() else listed


def _first_count(*values: Json) -> int | None:
    return next((count for value in values if (count := _count(value))), None)


def _count(value: Json) -> int | None:
    """A number above zero; JSON writes some as floats."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**63 else None


def _object(value: Json) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _words(value: Json) -> frozenset[str] | None:
    """The words of a list; None where there is none."""
    return frozenset(_strings(value)) if isinstance(value, list) else None


def _strings(values: list[Json]) -> Iterator[str]:
    return (value for value in values[:100] if isinstance(value, str))

"""JSON with placeholders, and paths through JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import ConfigError
from llm_pool.providers.grammar_schemas import for_grammar
from llm_pool.providers.thinking import token_limit

if TYPE_CHECKING:
    from llm_pool.core.messages import Call, Json, Think

PLACEHOLDERS = ("prompt", "system", "user", "model", "max_tokens", "temperature", "schema", "seed", "stop", "think")

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


class Template:
    """
    A JSON value in which strings hold placeholders such as ``{prompt}``.

    A string that is one placeholder alone becomes the value itself, with its type; elsewhere its text is put in, or its
    JSON where it is no text.
    A member whose placeholder has no value, such as ``{max_tokens}`` where nobody limits the answer, is left out.
    ``{system}`` and ``{user}`` are the two parts of the prompt. ``{prompt}`` is both, or the user's part alone
    where the template puts ``{system}`` somewhere itself. Earlier turns of a conversation stand before the user's.

    Args:
        value: the template.
        key: its place in the configuration, for errors.

    Raises:
        ConfigError: a placeholder that nothing fills.
    """

    def __init__(self, value: Json, key: str) -> None:
        self._value = value
        self._used = set(_check(value, key))

    def uses(self, placeholder: str) -> bool:
        """Whether the template holds *placeholder*."""
        return placeholder in self._used

    def fill(self, model: str, call: Call, think: Think | None = None) -> Json:
        """The JSON for *call*, whose model shall *think* or not."""
        prompt = call.prompt
        both = not self.uses("system") and prompt.system
        values = {
            "prompt": f"{prompt.system}\n\n{prompt.transcript}" if both else prompt.transcript,
            "system": prompt.system,
            "user": prompt.transcript,
            "model": model,
            "max_tokens": token_limit(call, think),
            "temperature": call.temperature,
            "schema": for_grammar(call.schema),
            "seed": call.seed,
            "stop": call.stop,
            "think": think,
        }
        return _fill(self._value, values)


def at(value: Json, path: str) -> Json:
    """What is at *path*, such as ``choices.0.text``; None where there is nothing."""
    for step in path.split("."):
        if isinstance(value, list) and step.isdecimal():
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _fill(value: Json, values: dict[str, Any]) -> Json:
    match value:
        case str():
            alone = _PLACEHOLDER.fullmatch(value)
            return values[alone[1]] if alone else _PLACEHOLDER.sub(lambda found: _text(values[found[1]]), value)
        case dict():
            filled = {key: _fill(inner, values) for key, inner in value.items()}
            return {key: inner for key, inner in filled.items() if inner is not None or value[key] is None}
        case list() | tuple():
            return [_fill(inner, values) for inner in value]
        case _:
            return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _check(value: Json, key: str) -> list[str]:
    """The placeholders in *value*; *key* grows with the way to them."""
    match value:
        case str():
            names = _PLACEHOLDER.findall(value)
            for name in names:
                if name not in PLACEHOLDERS:
                    raise _unknown(name, key)
            return names
        case dict():
            return [name for step, inner in value.items() for name in _check(inner, f"{key}.{step}")]
        case list() | tuple():
            return [name for step, inner in enumerate(value) for name in _check(inner, f"{key}.{step}")]
        case _:
            return []


def _unknown(name: str, key: str) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(name, PLACEHOLDERS, n=1, cutoff=0.5)
    want = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS[:-1]) + f" or {{{PLACEHOLDERS[-1]}}}"
    return ConfigError(
        path=None, key=key, got=f"{{{name}}}", want=want, hint=f"did you mean {{{near[0]}}}?" if near else ""
    )

"""From what a person asks to what a panel gets: the input checked, the answer's shape narrowed to it, the prompt."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from llm_pool.core.errors import ConfigError, InvalidRequest
from llm_pool.reading.schemas import MAX_DEPTH, dotted, fault, is_deep, validator
from llm_pool.tasks.rendering import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llm_pool.core.messages import Call, Image, Json, Prompt, Task, Turn


_LIKE_JSON = re.compile(r'\s*+\{\s*+"')
"""Text that can only be meant as an object, so that a mistake in it is told."""


class Prepared(msgspec.Struct, frozen=True):
    """
    A question ready to be asked.

    Attributes:
        input: the prompt, parsed if the task takes JSON.
        schema: the task's output schema narrowed to the ids of this input; None for free text.
        ids: ids that the answer may name, in the input's order.
    """

    input: Json
    prompt: Prompt
    schema: dict[str, Json] | None
    ids: tuple[str, ...]


def prepare(task: Task, prompt: str, turns: Sequence[Turn] = (), images: tuple[Image, ...] = ()) -> Prepared:
    """
    Make *prompt* a question of *task* about *images*, asked after *turns*.

    Raises:
        InvalidRequest: the input does not fit; the field is named as ``prompt.candidates[1].id``.
        ConfigError: a schema of the task is no JSON Schema.
    """
    _check_schemas(task)
    value = _parsed(task, prompt)
    ids = _ids(task, value)
    return Prepared(value, render(task.template, value, turns, images), _narrowed(task, ids), ids)


def with_variant(call: Call, variant: str) -> Call:
    """*call* in the words of *variant*; as it is if its task has no such variant. Comes after ``reorder``."""
    template = call.task.variants.get(variant)
    if template is None:
        return call
    return msgspec.structs.replace(call, prompt=render(template, call.input, call.prompt.turns, call.prompt.images))


def reorder(call: Call, seed: int | str) -> Call:
    """
    *call* with its candidates in an order that *seed* alone decides; ``ids`` keep the order they came in.

    A call without candidates comes back as it is.
    """
    if not call.ids:
        return call
    import random

    shuffled, items = _copied_to_list(call.input, call.task.ids_from)
    random.Random(seed).shuffle(items)  # noqa: S311 -- an order, not a secret
    prompt = render(call.task.template, shuffled, call.prompt.turns, call.prompt.images)
    return msgspec.structs.replace(call, input=shuffled, prompt=prompt)


def _parsed(task: Task, prompt: str) -> Json:
    """The input: JSON where the task has an input schema, unless that takes plain text too and this is some."""
    if task.input_schema is None:
        return prompt
    try:
        value = json.loads(prompt, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        value = error
    takes_text = "string" in _types(task.input_schema) and not _LIKE_JSON.match(prompt)
    if takes_text and not isinstance(value, (dict, list)):
        value = prompt
    elif isinstance(value, (ValueError, RecursionError)):
        reason = value.args[0] if isinstance(value, ValueError) else "nested too deep"
        raise InvalidRequest("prompt", f"task '{task.name}' takes JSON: {reason}", hint=_shape(task))
    if is_deep(value):
        raise InvalidRequest("prompt", f"nested deeper than {MAX_DEPTH} levels")
    found = _fault(task.input_schema, value)
    if found is not None:
        path, what = found
        raise InvalidRequest(f"prompt.{path}" if path else "prompt", what, hint=_shape(task))
    return value


def _fault(schema: dict[str, Json], value: Json) -> tuple[str, str] | None:
    try:
        return fault(schema, value)
    except UnicodeEncodeError:
        return "", "half a character (a lone surrogate) in it"


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _types(schema: dict[str, Json]) -> tuple[str, ...]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else tuple(kinds)


def _shape(task: Task) -> str:
    """A hint with the fields that *task* needs."""
    required = (task.input_schema or {}).get("required", ())
    fields = ", ".join(f'"{name}": …' for name in required)
    return f"e.g. {{{fields}}}" if fields else ""


# Ids: ``candidates[].id`` points at a list in the input and at the id in each of its items.


def _ids(task: Task, value: Json) -> tuple[str, ...]:
    if not task.ids_from:
        return ()
    head, _, tail = task.ids_from.partition("[]")
    place = f"prompt.{head}"
    ids: list[str] = []
    for number, item in enumerate(_list_at(value, head)):
        field = f"{place}[{number}]{tail}"
        found = _at(item, tail)
        if isinstance(found, bool) or not isinstance(found, (str, int)) or found == "":
            raise InvalidRequest(field, f"expected an id, text or a whole number, got {json.dumps(found)[:60]}")
        if str(found) in ids:
            raise InvalidRequest(field, f"'{found}' is there twice; ids must differ")
        ids.append(str(found))
    if not ids:
        raise InvalidRequest(place, "there is nothing to choose from", hint=_shape(task))
    return tuple(ids)


def _list_at(value: Json, path: str) -> list[Json]:
    found = _at(value, path)
    if not isinstance(found, list):
        raise InvalidRequest(f"prompt.{path}".rstrip("."), "expected a list")
    return found


def _at(value: Json, path: str) -> Json:
    for name in filter(None, path.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _copied_to_list(value: Json, path: str) -> tuple[Json, list[Json]]:
    """*value* copied along *path*, and the copy of the list at its end, which may be changed."""
    names = [name for name in path.partition("[]")[0].split(".") if name]
    if not names:
        items = list(value)
        return items, items
    copied = dict(value)
    inner: dict[str, Any] = copied
    for name in names[:-1]:
        inner[name] = dict(inner[name])
        inner = inner[name]
    inner[names[-1]] = items = list(inner[names[-1]])
    return copied, items


# Schemas.


def _narrowed(task: Task, ids: tuple[str, ...]) -> dict[str, Json] | None:
    """The output schema with *ids* as the only values of the deciding field."""
    schema = task.output_schema
    if schema is None or not ids or not task.field:
        return schema
    properties = schema["properties"]
    choice: dict[str, Json] = {"type": "string", "enum": list(ids)}
    if task.kind == "ranking":
        choice = {"type": "array", "items": choice, "minItems": len(ids), "maxItems": len(ids), "uniqueItems": True}
    return {**schema, "properties": {**properties, task.field: choice}}


def _check_schemas(task: Task) -> None:
    for key in ("input_schema", "output_schema"):
        schema = getattr(task, key)
        if schema is not None:
            _check_schema(task, key, schema)


def _check_schema(task: Task, key: str, schema: dict[str, Json]) -> None:
    import jsonschema_rs

    try:
        validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise ConfigError(
            path=_source(task),
            key=dotted([key, *error.instance_path] if isinstance(error, jsonschema_rs.ValidationError) else [key]),
            got=str(error).split("\n", 1)[0][:160],
            want="JSON Schema",
        ) from error


def _source(task: Task) -> Path | None:
    from pathlib import Path

    return Path(task.source) if task.source else None

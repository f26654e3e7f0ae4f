"""The head of a prompt file: TOML between two ``+++`` lines, checked key by key."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, get_args

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.core.errors import ConfigError
from llm_pool.core.messages import OutputKind

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.core.messages import Json

FENCE = "+++"
_SCHEMAS = ("input_schema", "output_schema")


class FrontMatter(msgspec.Struct, frozen=True):
    """
    What a prompt file says besides its words.

    Attributes:
        kind: None where it is not said: ``object`` if there is an output schema, else ``text``.
        deadline_ms: milliseconds from admission.
    """

    description: str = ""
    kind: OutputKind | None = None
    field: str = ""
    ids_from: str = ""
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.2
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    deadline_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] | None = None
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None


def split(path: Path, text: str) -> tuple[FrontMatter, str]:
    """
    The front matter and the body of the prompt file *text*.

    Raises:
        ConfigError: with the file, the key and the line where it is known.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[0].strip() != FENCE:
        raise ConfigError(
            path=path, line=1, key="", got=repr(lines[0][:40]), want=f"front matter, TOML between two {FENCE} lines"
        )
    ends = [number for number, line in enumerate(lines[1:], start=1) if line.strip() == FENCE]
    if not ends:
        raise ConfigError(path=path, line=len(lines), key="", got="the end of the file", want=f"a closing {FENCE} line")
    head, body = "\n".join(["", *lines[1 : ends[0]], ""]), "\n".join(lines[ends[0] + 1 :])
    return _checked(path, head), body.strip()


def _checked(path: Path, head: str) -> FrontMatter:
    """*head* is the TOML, with an empty line in place of the fence, so that line numbers are the file's."""
    try:
        found = tomllib.loads(head)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ConfigError(
            path=path, line=int(line[1]) if line else None, key="", got=str(error), want="TOML in the front matter"
        ) from error
    known = FrontMatter.__struct_fields__
    for key in found:
        if key not in known:
            raise _config_error(path, head, key, key, f"one of {', '.join(known)}", hint=nearest(key, known))
    for key in _SCHEMAS:
        if isinstance(found.get(key), str):
            found[key] = _json(path, head, key, found[key])
    try:
        return msgspec.convert(found, FrontMatter)
    except msgspec.ValidationError as error:
        raise _type_error(path, head, found, str(error)) from error


def _json(path: Path, head: str, key: str, text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError as error:
        raise _config_error(path, head, key, str(error), "a JSON Schema, as TOML or as JSON text") from error


def _type_error(path: Path, head: str, found: dict[str, Any], said: str) -> ConfigError:
    """What msgspec says, ``Expected `int`, got `str` - at `$.max_tokens```, with the value beside it."""
    match = re.fullmatch(r"Expected (?P<want>.+?)(?:, got .+)? - at `\$\.(?P<key>\w+)`|(?P<other>.*)", said, re.DOTALL)
    key = (match and match["key"]) or next(iter(found), "")
    want = (match and match["want"]) or said
    if key == "kind":
        want = f"one of {', '.join(get_args(OutputKind))}"
    return _config_error(path, head, key, json.dumps(found.get(key), default=str)[:80], want.replace("`", ""))


def _config_error(path: Path, head: str, key: str, got: str, want: str, *, hint: str = "") -> ConfigError:
    line = next(
        (number for number, line in enumerate(head.split("\n"), start=1) if re.match(rf"\s*\[?{key}\b", line)), None
    )
    return ConfigError(path=path, line=line, key=key, got=got, want=want, hint=hint)

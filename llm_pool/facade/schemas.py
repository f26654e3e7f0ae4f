"""What an answer shall be, as JSON Schema for the models, and the way back from their JSON to a value of that type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import msgspec

from llm_pool.core.errors import BadReply, InvalidRequest
from llm_pool.facade.answer import with_value

if TYPE_CHECKING:
    from llm_pool.core import messages
    from llm_pool.core.messages import Json
    from llm_pool.facade.answer import Answer

JsonSchema: TypeAlias = Mapping[str, Any]


class Expectation(Protocol):
    """
    What an answer shall be.

    Attributes:
        json_schema: what the models are told, and their answers are checked against; None: nothing.
    """

    @property
    def json_schema(self) -> dict[str, Json] | None:
        """See above."""

    def fulfil(self, answer: messages.Answer) -> Answer[Any]:
        """
        *answer* with its value.

        Raises:
            BadReply: the type's own checks, of which JSON Schema knows nothing, refuse what the models said.
        """


def expectation(schema: type[Any] | JsonSchema | None) -> Expectation:
    """
    What *schema* asks for.

    Args:
        schema: a pydantic model, a dataclass, a TypedDict, a msgspec Struct, or what can be made of these and of
            Python's own types (``list[City]``); a JSON Schema; None for whatever comes.

    Raises:
        InvalidRequest: it is a type that has no JSON Schema.
    """
    if schema is None or isinstance(schema, Mapping):
        return _AsParsed(None if schema is None else dict(schema))
    return _Typed(schema)


class _AsParsed:
    """The parsed JSON itself."""

    def __init__(self, json_schema: dict[str, Json] | None) -> None:
        self.json_schema = json_schema

    def fulfil(self, answer: messages.Answer) -> Answer[Any]:  # one of two kinds
        return with_value(answer, answer.json)


class _Typed:
    """An instance of *kind*."""

    def __init__(self, kind: Any) -> None:
        self._kind, self._is_pydantic = kind, hasattr(kind, "model_json_schema")
        try:
            self.json_schema = _inlined(kind.model_json_schema() if self._is_pydantic else msgspec.json.schema(kind))
        except (TypeError, ValueError, RuntimeError) as error:  # pydantic's own is a RuntimeError
            raise InvalidRequest("schema", f"{_name(kind)} has no JSON Schema: {error}") from error

    def fulfil(self, answer: messages.Answer) -> Answer[Any]:
        text = msgspec.json.encode(answer.json)
        try:
            read = self._kind.model_validate_json if self._is_pydantic else self._decoded
            return with_value(answer, read(text))
        except (TypeError, ValueError) as error:
            raise BadReply(answer.winner, f"the answer is no {_name(self._kind)}: {_reason(error)}") from error

    def _decoded(self, text: bytes) -> Any:
        return msgspec.json.decode(text, type=self._kind)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


def _reason(error: Exception) -> str:
    """*error* in one line; pydantic's are several, with links to its pages."""
    if not hasattr(error, "errors"):
        return str(error)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


def _inlined(schema: dict[str, Json]) -> dict[str, Json]:
    """
    *schema*, whose root may be a reference to one of its own parts, with that part as its root.

    Servers that make grammars of schemas, and our own comparison of answers, look for ``type`` at the root. A part that
    others refer to, itself perhaps, stays where it is.
    """
    root, parts = str(schema.get("$ref", "")), schema.get("$defs", {})
    name = root.removeprefix("#/$defs/")
    if name not in parts or msgspec.json.encode(root) in msgspec.json.encode(parts):
        return schema
    others = {part: what for part, what in parts.items() if part != name}
    return {**parts[name], **({"$defs": others} if others else {})}

"""What a reader looks for, and the one thing that can go wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from llm_pool.core.messages import Json, OutputKind


class Unreadable(ValueError):
    """The text holds no answer that fits; *reason* is one sentence with the JSON path of the culprit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Expectation(NamedTuple):
    """An answer's schema, and which of its fields decides."""

    schema: dict[str, Json]
    kind: OutputKind
    field: str
    ids: tuple[str, ...]

    @property
    def shape(self) -> str:
        """``object``, ``array``, or empty where the schema takes a bare string, number or boolean."""
        shape = self.schema.get("type", "object")
        return shape if shape in ("object", "array") else ""  # it may be a list

    @property
    def deciding(self) -> frozenset[str]:
        """Plain names of the fields that decide: the one field of a value or a ranking, else all that are required."""
        required = self.schema.get("required")
        return frozenset(
            map(plain_name, [self.field] if self.field else required if isinstance(required, list) else ())
        )

    @property
    def deciding_schema(self) -> Json:
        """The schema of what decides: of the one field, or of the whole answer."""
        if not self.field or self.shape != "object":
            return self.schema
        properties = self.schema.get("properties")
        return properties.get(self.field) if isinstance(properties, dict) else None

    @property
    def takes_bare(self) -> bool:
        """Whether a bare value can be meant as the deciding field: it is the only one, and not every text fits it."""
        schema = self.deciding_schema
        if not self.is_sole or not isinstance(schema, dict):
            return False
        return "enum" in schema or ("type" in schema and "string" not in schema["type"])

    @property
    def is_sole(self) -> bool:
        """Whether nothing but the deciding field is required."""
        return self.shape == "object" and self.schema.get("required") == [self.field]


def plain_name(name: str) -> str:
    """*name* without what models change in it: letter case, spaces, hyphens, marks."""
    return re.sub(r"[\s_*-]", "", name).casefold()


class Candidate(NamedTuple):
    """
    A value found in a text.

    Attributes:
        repair: the repair that read it.
        source: the JSON as the model wrote it; empty if it had to be mended.
        start: where in the text it begins; *end* is behind it.
        is_cut: the text ends, or goes wrong, before what decides is whole: this is no answer, and takes back
            what was said before.
    """

    repair: str
    value: Json
    source: str = ""
    start: int = 0
    end: int = 0
    is_cut: bool = False


def beginning(text: str) -> str:
    """The first words of *text*, to be shown in an error."""
    return repr(text[:60].encode(errors="replace").decode())

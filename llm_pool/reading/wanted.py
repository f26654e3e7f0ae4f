"""What a reader looks for, and the one thing that can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from llm_pool.core.messages import Json, OutputKind


class Unreadable(ValueError):
    """The text holds no answer that fits; *reason* is one sentence with the JSON path of the culprit."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Wanted(NamedTuple):
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


class Candidate(NamedTuple):
    """
    A value found in a text.

    Attributes:
        rung: the rung of the ladder that read it.
        source: the JSON as the model wrote it; empty if it had to be mended.
    """

    rung: str
    value: Json
    source: str = ""

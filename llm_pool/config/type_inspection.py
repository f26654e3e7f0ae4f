"""A key's annotated type, taken apart."""

from __future__ import annotations

from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from llm_pool.config.values import Secret


class Shape(msgspec.Struct, frozen=True):
    """
    A key's type, taken apart.

    Attributes:
        whole: the annotated type; msgspec checks a value against it.
        bare: the type without ``Annotated`` and None.
        kind: ``struct``, ``list`` or ``dict`` for what has parts of its own, else ``leaf``.
        part: the type of the parts; for a struct the struct itself.
        name: the type of a dict's keys.
        secret: values are not for showing.
        extra: ``unit``, ``want``, ``drivers`` from the ``Meta``s, outermost first.
        doc: the description.
        examples: values to show.
    """

    whole: Any
    bare: Any
    kind: str
    part: Any = None
    name: Any = None
    secret: bool = False
    extra: dict[str, Any] = {}
    doc: str = ""
    examples: tuple[Any, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words a value may be; empty if it is not a choice."""
        is_choice = isinstance(self.bare, type) and issubclass(self.bare, Enum)
        return tuple(member.value for member in self.bare) if is_choice else ()


def shape_of(whole: Any) -> Shape:
    """The shape of an annotated type."""
    bare, metas = _peeled(whole)
    extra: dict[str, Any] = {}
    for meta in reversed(metas):
        extra.update(meta.extra or {})
    doc = next((meta.description for meta in metas if meta.description), "")
    examples = next((tuple(meta.examples) for meta in metas if meta.examples), ())
    kind, part, name = "leaf", None, None
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
        kind, part = "struct", bare
    elif get_origin(bare) is tuple:
        kind, part = "list", get_args(bare)[0]
    elif get_origin(bare) is dict:
        name, part = get_args(bare)
        kind = "leaf" if part is Any else "dict"
    return Shape(whole, bare, kind, part, name, Secret in {bare, part}, extra, doc, examples)


def fields_of(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The keys of a table by their names."""
    return {field.name: field for field in msgspec.structs.fields(struct)}


def paragraphs(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The paragraphs of a table's docstring, each on one line."""
    from inspect import getdoc

    return tuple(" ".join(part.split()) for part in (getdoc(struct) or "").split("\n\n"))


def _peeled(whole: Any) -> tuple[Any, list[msgspec.Meta]]:
    """The type without ``Annotated`` and ``| None``, and the metas met on the way, outermost first."""
    metas: list[msgspec.Meta] = []
    while True:
        if get_origin(whole) is Annotated:
            whole, *found = get_args(whole)
            metas += [meta for meta in reversed(found) if isinstance(meta, msgspec.Meta)]
        elif get_origin(whole) in {Union, UnionType} and len(some := _without_none(whole)) == 1:
            whole = some[0]
        else:
            return whole, metas


def _without_none(union: Any) -> list[Any]:
    return [member for member in get_args(union) if member is not type(None)]

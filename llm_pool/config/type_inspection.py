"""A key's annotated type, taken apart."""

from __future__ import annotations

from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from llm_pool.config.values import Secret


class TypeInfo(msgspec.Struct, frozen=True):
    """
    A key's type, taken apart.

    Attributes:
        annotation: the annotated type; msgspec checks a value against it.
        base: the type without ``Annotated`` and None.
        kind: ``struct``, ``list`` or ``dict`` for what has parts of its own, else ``leaf``.
        element: the type of the parts; for a struct the struct itself.
        name: the type of a dict's keys.
        secret: values are not for showing.
        extra: ``unit``, ``want``, ``drivers`` from the ``Meta``s, outermost first.
        doc: the description.
        examples: values to show.
    """

    annotation: Any
    base: Any
    kind: str
    element: Any = None
    name: Any = None
    secret: bool = False
    extra: dict[str, Any] = {}
    doc: str = ""
    examples: tuple[Any, ...] = ()

    @property
    def choices(self) -> tuple[str, ...]:
        """The words a value may be; empty if it is not a choice."""
        is_choice = isinstance(self.base, type) and issubclass(self.base, Enum)
        return tuple(member.value for member in self.base) if is_choice else ()


def inspect_type(annotation: Any) -> TypeInfo:
    """The shape of an annotated type."""
    base, metas = _unwrapped(annotation)
    extra: dict[str, Any] = {}
    for meta in reversed(metas):
        extra.update(meta.extra or {})
    doc = next((meta.description for meta in metas if meta.description), "")
    examples = next((tuple(meta.examples) for meta in metas if meta.examples), ())
    kind, element, name = "leaf", None, None
    if isinstance(base, type) and issubclass(base, msgspec.Struct):
        kind, element = "struct", base
    elif get_origin(base) is tuple:
        kind, element = "list", get_args(base)[0]
    elif get_origin(base) is dict:
        name, element = get_args(base)
        kind = "leaf" if element is Any else "dict"
    return TypeInfo(annotation, base, kind, element, name, Secret in {base, element}, extra, doc, examples)


def fields_of(struct: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """The keys of a table by their names."""
    return {field.name: field for field in msgspec.structs.fields(struct)}


def paragraphs(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The paragraphs of a table's docstring, each on one line."""
    from inspect import getdoc

    return tuple(" ".join(element.split()) for element in (getdoc(struct) or "").split("\n\n"))


def _unwrapped(annotation: Any) -> tuple[Any, list[msgspec.Meta]]:
    """The type without ``Annotated`` and ``| None``, and the metas met on the way, outermost first."""
    metas: list[msgspec.Meta] = []
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *found = get_args(annotation)
            metas += [meta for meta in reversed(found) if isinstance(meta, msgspec.Meta)]
        elif get_origin(annotation) in {Union, UnionType} and len(some := _without_none(annotation)) == 1:
            annotation = some[0]
        else:
            return annotation, metas


def _without_none(union: Any) -> list[Any]:
    return [member for member in get_args(union) if member is not type(None)]

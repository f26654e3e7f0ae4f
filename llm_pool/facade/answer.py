"""An answer as a program gets it: the pool's own, with the value it stands for."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from llm_pool.core import messages

T = TypeVar("T")


class Answer(messages.Answer, Generic[T], frozen=True, kw_only=True):
    """
    An answer, with its value.

    Attributes:
        value: an instance of the question's *schema*; without a type there, the parsed JSON, None for free text.
    """

    value: T

    def _repr_html_(self) -> str:
        """The answer, its votes and its attempts, for a notebook."""
        from llm_pool.facade.notebook import as_html

        return as_html(self)


def with_value(answer: messages.Answer, value: T) -> Answer[T]:
    """*answer*, standing for *value*."""
    return Answer(**msgspec.structs.asdict(answer), value=value)

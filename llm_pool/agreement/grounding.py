"""Whether an argument carries the value it claims to lead to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from llm_pool.agreement.values import canonical

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

_NUMBER: Final = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")
_NOISE: Final = re.compile(r"[\s$\\'\"{}]+")


def grounding(value: Json, argument: str) -> str:
    """
    How *argument* carries *value*.

    Returns:
        ``concludes``: it is the last number named; ``mentions``: it occurs; ``absent``: it does not, which on
        recorded answers makes a lone answer two to six times less likely to be right; ``empty``: there is
        nothing to look for.
    """
    shape = canonical(value).shape
    if shape[0] == "number":
        numbers = [canonical(number).shape for number in _NUMBER.findall(argument)]
        if not numbers or shape not in numbers:
            return "absent"
        return "concludes" if numbers[-1] == shape else "mentions"
    needle = _NOISE.sub("", str(value)).casefold()
    if not needle:
        return "empty"
    return "mentions" if needle in _NOISE.sub("", argument).casefold() else "absent"

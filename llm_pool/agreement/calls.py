"""
When two models call the same tools: as many calls, with the same names, and arguments that are the same object.

The order of parallel calls says nothing. Names count to the letter; arguments as ``objects`` compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.agreement.keys import composed
from llm_pool.agreement.objects import comparable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.agreement.keys import Key
    from llm_pool.core.messages import ToolCall


def calls_key(calls: Sequence[ToolCall]) -> Key:
    """The key of *calls*, whose arguments are whole; no text has the same."""
    keys = sorted(map(_call_key, calls), key=lambda key: (repr(key.shape), key.details, key.wording))
    return composed(("calls", *(key.shape for key in keys)), (((place,), key) for place, key in enumerate(keys)))


def _call_key(call: ToolCall) -> Key:
    arguments = comparable(msgspec.json.decode(call.arguments))
    return composed(("call", call.name, arguments.shape), [((0,), arguments)])

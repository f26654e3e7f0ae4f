"""
What it means that two answers are the same, by the shape of the task's answers.

===========  =======================================================  ==================================================
kind         two answers are the same when                            modules
===========  =======================================================  ==================================================
``value``    the named field's values have one key                    ``values``: numbers, units, options, LaTeX, dates
``object``   all fields have, lists of tags whatever their order      ``objects``: also votes field by field
``ranking``  they name the same ids in the same order                 ``rankings``: tau, reciprocal rank fusion
``text``     their wording is the same but for trifles                ``wording``; ``contradictions`` has what differs
calls        of any kind: names and arguments are, whatever the order  ``calls``; a call and a text never are
===========  =======================================================  ==================================================

``keys`` has the rule that groups them, the same for all kinds. ``texts`` says how alike texts are, which decides whom
to quote and never what is the same. All rules are pure, and none depends on the order in which answers arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_pool.agreement import wording
from llm_pool.agreement.calls import calls_key
from llm_pool.agreement.contradictions import Sameness, compare
from llm_pool.agreement.grounding import grounding
from llm_pool.agreement.keys import Key, grouped, same
from llm_pool.agreement.objects import comparable
from llm_pool.agreement.options import offered
from llm_pool.agreement.values import canonical, form

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from llm_pool.core.messages import Json, Reading, Task

__all__ = [
    "Key",
    "Sameness",
    "alike",
    "canonical",
    "comparable",
    "compare",
    "evidence",
    "exact",
    "grouped",
    "key",
    "same",
    "unclear",
]


def key(task: Task, reading: Reading, question: Json = None) -> Key:
    """
    The key of what *reading* answers to *task*; ``grouped`` says which of several are the same.

    *question* is the call's input: the options that it offers are known by their letters.
    """
    if reading.tool_calls:
        return calls_key(reading.tool_calls)
    if task.kind in {"value", "ranking"} and isinstance(reading.value, dict):
        letters = offered(question) if isinstance(question, str) else frozenset[str]()
        return canonical(reading.value.get(task.field), share=_wants_share(task), offered=letters)
    if reading.value is not None:
        return comparable(reading.value)
    return wording.key(reading.content)


def exact(task: Task, reading: Reading) -> Hashable:
    """What is equal only where the wording is, too, spaces around it apart; a number is the same however written."""
    if task.kind == "value" and isinstance(reading.value, dict):
        found = canonical(reading.value.get(task.field))
        return found.shape if found.shape[0] == "number" else (found, str(reading.value.get(task.field)).strip())
    return reading.shown


def alike(task: Task, readings: Sequence[Reading]) -> list[list[int]]:
    """Indices of *readings* grouped by sameness, in ascending order."""
    return grouped([key(task, reading) for reading in readings])


def unclear(task: Task, readings: Sequence[Reading]) -> set[int]:
    """Indices of *readings* of free text that may say the same as another one, without a rule being able to tell."""
    texts = [(place, one.content) for place, one in enumerate(readings) if task.kind == "text" and not one.tool_calls]
    pairs = ((first, second) for at, second in enumerate(texts) for first in texts[:at])
    return {place for (i, one), (j, other) in pairs if compare(one, other) == "unclear" for place in (i, j)}


def evidence(task: Task, reading: Reading) -> tuple[str, ...]:
    """
    What can be seen in an answer that goes along with being right, apart from who wrote it.

    Returns:
        For a ``value``: its form (``form:integer``), and, where the answer argues in other fields, how the
        argument carries the value: ``grounded:concludes`` (its last number), ``mentions`` or ``absent``.
        Nothing for other kinds.
    """
    if task.kind != "value" or not isinstance(reading.value, dict):
        return ()
    value = reading.value.get(task.field)
    seen = [f"form:{form(value)}"]
    argument = " ".join(text for name, text in reading.value.items() if name != task.field and isinstance(text, str))
    if argument:
        seen.append(f"grounded:{grounding(value, argument)}")
    return tuple(seen)


def _wants_share(task: Task) -> bool:
    """Whether the schema wants a number from 0 to 1 for the deciding field."""
    properties: Any = (task.output_schema or {}).get("properties")
    wanted: Any = properties.get(task.field) if isinstance(properties, dict) else None
    return isinstance(wanted, dict) and wanted.get("minimum") == 0 and wanted.get("maximum") == 1

"""
What it means that two answers are the same, by the shape of the task's answers.

===========  =======================================================  ============================================
kind         two answers are the same when                            module
===========  =======================================================  ============================================
``value``    the named field's values have one canonical key          ``values``: numbers, options, LaTeX, literals
``object``   all fields have, lists of tags whatever their order      ``objects``: also votes field by field
``ranking``  they name the same ids in the same order                 ``rankings``: tau, reciprocal rank fusion
``text``     their character n-grams overlap by 75 percent            ``texts``: chrF, sorted tokens
===========  =======================================================  ============================================

All rules are pure, and none depends on the order in which answers arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.agreement.grounding import grounding
from llm_pool.agreement.objects import comparable
from llm_pool.agreement.texts import SAME_TEXT, groups, profile, similarity
from llm_pool.agreement.values import Key, canonical, form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Reading, Task

__all__ = ["Key", "alike", "canonical", "comparable", "evidence", "exact", "key"]


def key(task: Task, reading: Reading) -> Key:
    """What *reading* answers to *task*, so that equal keys are equal answers."""
    if task.kind in {"value", "ranking"} and isinstance(reading.value, dict):
        return canonical(reading.value.get(task.field))
    if reading.value is not None:
        return comparable(reading.value)
    return ("text", " ".join(reading.content.casefold().split()))


def exact(task: Task, reading: Reading) -> Key:
    """A stricter ``key``, under which wordings of the same answer differ."""
    if task.kind == "value" and isinstance(reading.value, dict):
        return canonical(reading.value.get(task.field), strict=True)
    return ("text", reading.content)


def alike(task: Task, readings: Sequence[Reading], keys: Sequence[Key] | None = None) -> list[list[int]]:
    """Indices of *readings* grouped by sameness, in ascending order; *keys* are theirs, where already known."""
    keys = [key(task, reading) for reading in readings] if keys is None else keys
    if task.kind != "text":
        return groups(len(keys), lambda i, j: keys[i] == keys[j])
    profiles = [profile(reading.content) for reading in readings]
    return groups(len(keys), lambda i, j: keys[i] == keys[j] or similarity(profiles[i], profiles[j]) >= SAME_TEXT)


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

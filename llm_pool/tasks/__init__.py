"""
Tasks: kinds of work, each a prompt file with the shape of a good answer, and how an input becomes a prompt.

::

    prompts/judge.md ──load_task──▶ Task ──prepare(prompt text)──▶ Prepared(input, prompt, schema, ids)
                                                                     │ reorder: the list in another order
                                                                     ▼ rephrase: in a variant's words
                                                                   Call

What a prompt file says, and how a user adds one: ``docs/tasks.md``.
"""

from __future__ import annotations

from llm_pool.tasks.files import ASK, JUDGING, load_task, load_tasks, task_names
from llm_pool.tasks.preparing import Prepared, prepare, reorder, with_variant
from llm_pool.tasks.registry import TaskRegistry

__all__ = [
    "ASK",
    "JUDGING",
    "Prepared",
    "TaskRegistry",
    "load_task",
    "load_tasks",
    "prepare",
    "reorder",
    "task_names",
    "with_variant",
]

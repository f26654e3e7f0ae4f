"""
How long a request has.

::

    asked for ─▶ cut to the caps ─▶ it holds to the end
    not asked for ─▶ what is usual, cut to the caps ─▶ to the end, or of a streamed text to its first token;
                                                       then it may pause for ``idle``, up to the sender's cap
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import DEADLINE_NOTE
from llm_pool.engine.panel import ASK

if TYPE_CHECKING:
    from llm_pool.config import Config
    from llm_pool.core.messages import Query, Task

TASK_DEADLINE = 1.5
"""Seconds that a task has where nobody says."""
ASK_DEADLINE = 60.0
"""Seconds that a plain question has where nobody says: people wait longer than programs."""
ASK_IDLE = 30.0
"""Seconds that a streamed answer to a plain question may pause where nobody says."""
LONGEST = 86_400.0
"""Seconds that no request gets more than, however well its answer flows."""


class Time(NamedTuple):
    """
    Spans in seconds.

    Attributes:
        span: to the end; with *idle*, to the first token.
        idle: between two tokens from then on; None: *span* is to the end.
        longest: to the end, however well the answer flows.
        cut: in words for the asker, what made *span* shorter than was asked for; empty where it is not.
    """

    span: float
    idle: float | None
    longest: float
    cut: str


def time_for(query: Query, task: Task, config: Config, *, flows: bool) -> Time:
    """
    The time that *query* has: what it asks for, up to the caps, else what is usual.

    The operator's cap is ``qos.max_deadline_ms`` where it is set, or what ``[tasks.X]`` gives this task if that is
    longer; the sender's own lies over both.

    Args:
        query: what is asked.
        task: the task it names.
        config: limits and defaults.
        flows: the answer is read while it is written.

    Raises:
        InvalidRequest: it asks for no time at all.
    """
    key, cap = min(_caps(query, config), key=lambda named: named[1])
    longest = min(LONGEST, query.caps.deadline or math.inf)
    if query.deadline is None:
        return Time(min(_usual(task, config), cap), _idle(task, config) if flows else None, longest, "")
    if not query.deadline > 0:  # so that NaN is refused too
        raise InvalidRequest("deadline_ms", f"expected more than 0, got {query.deadline * 1000:g}")
    if query.deadline <= cap:
        return Time(query.deadline, None, query.deadline, "")
    cut = f"{DEADLINE_NOTE}{cap * 1000:.0f} ms, not the {query.deadline * 1000:.0f} ms asked for: {key}"
    return Time(cap, None, cap, cut)


def _caps(query: Query, config: Config) -> list[tuple[str, float]]:
    """Who gives how many seconds at most."""
    caps = [("nobody gets more than a day", LONGEST)]
    own, general = config.deadline_for(query.task), config.qos.max_deadline
    if general is not None:
        is_longer = own is not None and own > general
        caps.append((f"tasks.{query.task}.deadline_ms", own) if own and is_longer else ("qos.max_deadline_ms", general))
    if query.caps.deadline is not None:
        caps.append((f"tenancy.{query.tenant_id}.max_deadline_ms", query.caps.deadline))
    return caps


def _usual(task: Task, config: Config) -> float:
    """Seconds for a request that asks for none. What a prompt file suggests may only be shorter than the default."""
    default = config.qos.max_deadline or (ASK_DEADLINE if task.name == ASK else TASK_DEADLINE)
    return config.deadline_for(task.name) or min(task.deadline or default, default)


def _idle(task: Task, config: Config) -> float | None:
    return config.task(task.name).idle or (ASK_IDLE if task.name == ASK else None)

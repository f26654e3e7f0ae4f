"""
What makes two requests the same.

A key is the SHA-256 of one JSON array: every text in it is quoted, so no two different requests can spell the same
bytes by moving a border. (msgpack would not take the integers beyond 64 bits that JSON may hold.)
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.messages import Caps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Call, Query
    from llm_pool.engine.panel import Plan

_encode = msgspec.json.Encoder(order="deterministic").encode


def cache_key(query: Query, plan: Plan, fields: Sequence[str]) -> str:
    """
    The key of an answer: what shaped it, and the query's fields that the configuration names.

    Always part of it, whatever *fields* says: the tenant (nobody reads another's answers), the task with its
    prompt's version, the input, the tools, the strategy, the panel with its models and weights, and the sampling
    parameters.
    """
    call = plan.call
    members = [(m.name, m.model, m.weight) for m in (*plan.panel.regular, *plan.panel.last_resort)]
    task = (call.task.name, call.task.version, call.input, call.prompt.turns, call.prompt.images, call.schema)
    tools = (call.tools, call.tool_choice, call.parallel_tool_calls)
    sampling = (call.max_tokens, call.temperature, call.seed, call.stop, call.think, call.extra)
    named = [(field, getattr(query, field)) for field in sorted(fields)]
    return _digest((query.tenant_id, task, tools, sampling, plan.strategy, members, named))


def is_sampled(query: Query) -> bool:
    """Whether *query* asks for a sample, which is another one each time: a temperature of its own above 0, no seed."""
    return bool(query.temperature) and query.seed is None


def flight_key(key: str, query: Query, call: Call) -> str:
    """
    *key*, of an answer, made the key of a run.

    Runs that may be cut short are shared only among those whose answer would be cut at the same place.
    """
    flows = call.stream and call.schema is None
    return f"{key} {call.takes_cut} {(query.deadline, call.idle) if flows else None}"


def fingerprint(query: Query) -> str:
    """What must be equal for two requests with one id to be the same: what was asked, not in how long a time."""
    body = msgspec.structs.replace(query, request_id="", deadline=None, caps=Caps(), correlation_id="", trace={})
    return _digest(msgspec.to_builtins(body))


def _digest(parts: object) -> str:
    return hashlib.sha256(_encode(parts)).hexdigest()

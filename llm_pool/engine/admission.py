"""What a query may ask for: checked once, with the field named that is wrong, and turned into a call."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import THINK_WORDS, Call, StrategyName
from llm_pool.engine.deadlines import time_for
from llm_pool.engine.offered_tools import check_turns, offered_tools
from llm_pool.engine.panel import ASK
from llm_pool.reading.schemas import complaint_about, whole_numbers
from llm_pool.tasks import prepare

if TYPE_CHECKING:
    from llm_pool.config import Config
    from llm_pool.core.messages import Json, OutputKind, Query, Task, Think

MAX_REQUEST_ID = 200
"""Characters of a request's id, which is kept for as long as its answer."""
MAX_NAME = 200
"""Characters of a tenant's or project's name, which goes into logs and traces."""
MAX_TEMPERATURE = 2.0
"""The highest temperature."""
TOKEN_LIMIT = 2**31 - 1
"""The highest ``max_tokens``: backends and gRPC know no larger one."""
NO_LIMIT = -1
"""As ``max_tokens``: no limit, not even the task's. Source: llama-server's and Ollama's ``num_predict``."""
MAX_TOP_LOGPROBS = 20
"""Alternatives to a token that may be asked for. Source: OpenAI's limit."""
SEED_RANGE = range(-(2**63), 2**63)
"""What backends take as a seed."""
ANY_OBJECT: dict[str, Json] = {"type": "object"}
"""The schema of a JSON object that may hold anything."""


def admit(query: Query, task: Task, config: Config, *, now: float, stream: bool) -> Call:
    """
    The call that *query* asks for.

    Args:
        query: what is asked; its deadline counts from *now*.
        task: the task it names.
        config: limits and defaults.
        now: instant of admission.
        stream: somebody reads along.

    Raises:
        InvalidRequest: a field is out of bounds or does not fit the task's input schema.
    """
    if not config.task(task.name).enabled:
        raise InvalidRequest("task", f"'{task.name}' is switched off", hint=f"tasks.{task.name}.enabled says so")
    _check_size(query, config.qos.max_prompt_bytes)
    _check_names(query)
    tools = offered_tools(query, task)
    check_turns(query.turns)
    max_tokens = _max_tokens(query, task, config)
    task = _with_output_schema(task, query.output_schema)
    prepared = prepare(task, query.prompt, query.turns, query.images)
    flows = stream and prepared.schema is None and strategy_for(query, config) is StrategyName.FASTEST
    time = time_for(query, task, config, flows=flows)
    return Call(
        request_id=_request_id(query),
        task=task,
        input=prepared.input,
        prompt=prepared.prompt,
        schema=prepared.schema,
        ids=prepared.ids,
        max_tokens=max_tokens,
        temperature=_temperature(query, task, config),
        began=now,
        deadline=now + time.span,
        idle=time.idle,
        latest=now + time.longest,
        deadline_cut=time.cut,
        takes_cut=query.takes_cut,
        stream=stream,
        seed=_seed(query),
        stop=query.stop,
        think=_think(query, config),
        top_logprobs=_top_logprobs(query),
        think_tokens=config.qos.think_tokens,
        tenant_id=query.tenant_id,
        tools=tools,
        tool_choice=query.tool_choice if tools else "auto",
        parallel_tool_calls=query.parallel_tool_calls,
        trace=query.trace,
        extra=query.extra,
    )


def strategy_for(query: Query, config: Config) -> StrategyName:
    """
    The strategy to use: the query's, else the task's, else the default.

    Raises:
        InvalidRequest: the strategy is switched off.
    """
    name = query.strategy or config.strategy_for(query.task)
    if name in config.ensemble.disabled:
        raise InvalidRequest(
            "strategy", f"{name} is switched off", hint="ensemble.disabled in the configuration lists it"
        )
    return name


def parse_strategy(text: str) -> StrategyName:
    """
    The strategy called *text*, in any letter case.

    Raises:
        InvalidRequest: there is none of that name.
    """
    try:
        return StrategyName(text.upper())
    except ValueError:
        names = [name.value for name in StrategyName]
        expected = f"{', '.join(names[:-1])} or {names[-1]}"
        raise InvalidRequest("strategy", f"expected {expected}, got '{text}'", hint=nearest(text, names)) from None


def _check_size(query: Query, limit: int) -> None:
    try:
        size = len(query.prompt.encode()) + sum([len(turn.text.encode()) for turn in query.turns])
    except UnicodeEncodeError as error:
        raise InvalidRequest("prompt", f"invalid UTF-8 at character {error.start}") from error
    if size > limit and query.task != ASK:
        raise InvalidRequest(
            "prompt", f"{size} bytes, over the limit of {limit}", hint="shorten it, or raise qos.max_prompt_bytes"
        )
    if not (query.prompt.strip() or query.images or _goes_on(query)):
        raise InvalidRequest("prompt", "it is empty")


def _goes_on(query: Query) -> bool:
    """Whether the conversation ends with what tools gave, or with the beginning of an answer: that asks to go on."""
    return bool(query.turns) and query.turns[-1].role in {"tool", "assistant"}


def _check_names(query: Query) -> None:
    for field, name in (("tenant_id", query.tenant_id), ("project_id", query.project_id)):
        if len(name) > MAX_NAME:
            raise InvalidRequest(field, f"{len(name)} characters, expected at most {MAX_NAME}")


def _with_output_schema(task: Task, schema: dict[str, Json] | None) -> Task:
    """
    *task* with answers that fit *schema*, which is the asker's.

    Raises:
        InvalidRequest: it is no JSON Schema, or the task has one of its own that says otherwise.
    """
    if schema is None or schema == task.output_schema or (schema == ANY_OBJECT and task.output_schema is not None):
        return task
    if task.output_schema is not None:
        raise InvalidRequest("output_schema", f"task '{task.name}' has one of its own", hint="leave yours out")
    if wrong := complaint_about(schema):
        raise InvalidRequest("output_schema", wrong)
    kind: OutputKind = "object" if schema.get("type", "object") == "object" else "text"
    return msgspec.structs.replace(task, output_schema=whole_numbers(schema), kind=kind)


def _max_tokens(query: Query, task: Task, config: Config) -> int | None:
    """Tokens of the answer at most; None: the model's own end. The default is for tasks with a schema of their own."""
    cap = query.caps.max_tokens or sys.maxsize
    if query.max_tokens is None:
        default = None if task.output_schema is None else config.qos.max_tokens_default
        limit = config.task(task.name).max_tokens or task.max_tokens or default
        return query.caps.max_tokens if limit is None else min(limit, cap)
    if query.max_tokens == NO_LIMIT:
        return query.caps.max_tokens
    if query.max_tokens <= 0:
        raise InvalidRequest("max_tokens", f"expected more than 0, or -1 for no limit, got {query.max_tokens}")
    if query.max_tokens > TOKEN_LIMIT:
        raise InvalidRequest("max_tokens", f"expected at most {TOKEN_LIMIT}")
    return min(query.max_tokens, cap)


def _request_id(query: Query) -> str:
    if len(query.request_id) > MAX_REQUEST_ID:
        raise InvalidRequest("request_id", f"{len(query.request_id)} characters, expected at most {MAX_REQUEST_ID}")
    return query.request_id or query.correlation_id or uuid.uuid4().hex


def _top_logprobs(query: Query) -> int:
    """Alternatives to ask for: backends tell a token's own probability as the first of them."""
    if query.top_logprobs is None:
        return 0
    if query.top_logprobs not in range(MAX_TOP_LOGPROBS + 1):
        raise InvalidRequest("top_logprobs", f"expected 0 to {MAX_TOP_LOGPROBS}, got {query.top_logprobs}")
    return max(1, query.top_logprobs)


def _think(query: Query, config: Config) -> Think | None:
    return config.task(query.task).think if query.think is None else query.think


def parse_think(text: str) -> Think:
    """
    What *text* says of thinking: ``true``, ``false``, ``low``, ``medium`` or ``high``, in any letter case.

    Raises:
        InvalidRequest: it is none of these.
    """
    try:
        return THINK_WORDS[text.lower()]
    except KeyError:
        raise InvalidRequest("think", f"expected {', '.join(THINK_WORDS)}, got '{text}'") from None


def _temperature(query: Query, task: Task, config: Config) -> float:
    if query.temperature is not None:
        if not 0 <= query.temperature <= MAX_TEMPERATURE:  # so that NaN is refused too
            raise InvalidRequest("temperature", f"expected 0 to {MAX_TEMPERATURE:g}, got {query.temperature:g}")
        return query.temperature
    own = config.task(task.name).temperature
    return task.temperature if own is None else own


def _seed(query: Query) -> int | None:
    if query.seed is not None and query.seed not in SEED_RANGE:
        raise InvalidRequest("seed", "expected an integer of at most 64 bits")
    return query.seed

"""
Servers that refuse what others take: from a refusal to what to leave out when asking again.

::

    400 "… response_format …" ──left_out──▶ {response_format} ──without──▶ the same question, less exact

A pure rule: the error's words and what was sent decide. Only what is optional can be left out, each once, so asking
again comes to an end; our own check of the answer stays.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from llm_pool.providers.messages import folded, merged

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from llm_pool.core.messages import Json

REFUSALS: Final = frozenset({400, 422, 500, 501})
"""Statuses with which servers refuse a parameter; llama-server says 500 where a template does."""
SYSTEM_ROLE: Final = "system role"
ROLES: Final = "roles in turn"
NEW_LIMIT: Final = "max_tokens by its new name"

_MAX_READ: Final = 4000
"""Characters of an error that are looked at."""
_OPTIONAL: Final = (
    "continue_final_message",
    "add_generation_prompt",
    "response_format",
    "stream_options",
    "chat_template_kwargs",
    "parallel_tool_calls",
    "reasoning_effort",
    "top_logprobs",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "tool_choice",
    "keep_alive",
    "truncate",
    "format",
    "think",
    "seed",
    "stop",
)
_GO_WITH: Final = {"logprobs": ("logprobs", "top_logprobs"), "top_logprobs": ("logprobs", "top_logprobs")}
_PLAIN_WORDS: Final = frozenset({"format", "think", "seed", "stop", "truncate", "temperature"})
"""Names that are words too: they must be quoted, or stand where a server names a field."""
_I = re.IGNORECASE
_AS_A_FIELD = (
    r"""["'`.]{name}["'`]|\bfor {name}(?:["'.]|$)|"""
    r"""\.{name}\b|\b(?:invalid|unsupported|unknown|parameters?:?|fields?:?|arguments?:?) {name}\b|"""
    r"""\b{name} (?:parameter |field |option )?(?:is|are) (?:not|un)|not support (?:the )?{name}\b"""
)
_SCHEMA: Final = re.compile(r"json.?schema|structured.?output|guided.?decoding|grammar|xgrammar|outlines", _I)
_THINKING: Final = re.compile(
    r"not support (?:thinking|reasoning|`?effort)|enable_thinking|reasoning effort|think value|chat.?template is not",
    _I,
)
_DENIED = r"[^.]{0,40}\b(?:not|n't|un\w+)"
_NO_SYSTEM: Final = re.compile(
    rf"(?:system|developer)['\"` ]{{0,2}} (?:role|message|prompt|instruction)s?\b{_DENIED}|"
    rf"role['\": ]{{1,4}}system\b{_DENIED}|"
    r"not support[^.]{0,20} system|only user(?:,| and) (?:model|assistant)[^.]{0,30} roles|unexpected system message|"
    r"(?:start|begin) with (?:a |the )?user\b|first message[^.]{0,20} (?:from |by )?(?:the )?user\b|"
    r"invalid role[^.]{0,4} ['\"`]?system",
    _I,
)
_EXPECTED_ROLES: Final = re.compile(r"should be ['\"](?:user|assistant)\b|tag 'system' found", _I)
"""As pydantic tells it: it names the roles that it knows."""
_ALTERNATE: Final = re.compile(r"must alternate|should alternate|alternat\w+[^.]{0,30}\broles?", _I)
_CONTEXT: Final = re.compile(r"context (?:length|size|window)|exceed_context_size|prompt is (?:too long|longer)", _I)
_NO_TOOLS: Final = re.compile(
    r"not support (?:the )?(?:use of )?(?:tools?|functions?)\b|not support (?:tool|function)[- ]?(?:call|use)"
    r"|\b(?:tool|function)[- ]?(?:call(?:s|ing)?|use)\b[^.]{0,40} (?:not (?:supported|enabled)|unsupported)"
    r"|--enable-auto-tool-choice|--jinja|tools (?:is|are) not (?:supported|enabled|permitted)"
    r"|(?:unknown|unsupported|unrecognized) (?:field|parameter|argument)s?\W{0,4}tools\b",
    _I,
)
_TOGETHER: Final = re.compile(
    r"(?:grammar|schema|response_format)[^.]{0,40}\btools|tools\b[^.]{0,40}(?:grammar|schema)", _I
)
"""A schema and tools at once, which some servers refuse, though they take either."""
_TOO_MUCH: Final = re.compile(
    rf"{_CONTEXT.pattern}|too (?:large|long|many)|exceed|out of range|must be (?:less|at most|between)", _I
)


def left_out(status: int, error: str, param: str, sent: Collection[str]) -> frozenset[str]:
    """
    What to ask without, by a refusal; empty if it is about nothing that can be left out.

    Args:
        status: of the response.
        error: its words.
        param: the field that the error itself names, as OpenAI's and pydantic's do; else empty.
        sent: the fields of the body, and ``SYSTEM_ROLE`` and ``ROLES`` where the messages have what these change.
    """
    if status not in REFUSALS:
        return frozenset()
    error = error[:_MAX_READ]
    found = {name for name in _OPTIONAL if name in sent and (name == param or _names(error, name))}
    if "max_tokens" in found and is_lasting(error) and "max_completion_tokens" in error:
        found = found - {"max_tokens"} | {NEW_LIMIT}
    if not found and _SCHEMA.search(error):
        found = {"response_format", "format"} & set(sent)
    if _THINKING.search(error):
        found |= {"think", "chat_template_kwargs", "reasoning_effort"} & set(sent)
    if SYSTEM_ROLE in sent and (_NO_SYSTEM.search(error) or _EXPECTED_ROLES.search(error)):
        found.add(SYSTEM_ROLE)
    if _ALTERNATE.search(error):
        found |= {SYSTEM_ROLE, ROLES} & set(sent)
    return frozenset(name for one in found for name in _GO_WITH.get(one, (one,)))


def is_lasting(error: str) -> bool:
    """Whether the next question would be refused too: not where this one's size, or what it combines, is at fault."""
    return _TOO_MUCH.search(error[:_MAX_READ]) is None and _TOGETHER.search(error[:_MAX_READ]) is None


def refuses_tools(status: int, error: str) -> bool:
    """Whether a response of *status* says, in its *error*, that the model or its server calls no tools at all."""
    return status in REFUSALS and _NO_TOOLS.search(error[:_MAX_READ]) is not None


def is_about_context(error: str) -> bool:
    """Whether the prompt is longer than the model's context."""
    return _CONTEXT.search(error[:_MAX_READ]) is not None


def without(body: dict[str, Any], leave_out: Collection[str]) -> dict[str, Any]:
    """*body* without these."""
    if NEW_LIMIT in leave_out and "max_tokens" in body:
        body = {("max_completion_tokens" if name == "max_tokens" else name): value for name, value in body.items()}
    kept = {name: value for name, value in body.items() if name not in leave_out}
    if "messages" in body:
        kept["messages"] = arranged(body["messages"], leave_out)
    return kept


def arranged(messages: Sequence[dict[str, str]], leave_out: Collection[str]) -> list[dict[str, str]]:
    """*messages* without the system role, or with roles that take turns, as *leave_out* says."""
    if SYSTEM_ROLE in leave_out:
        messages = folded(messages)
    return merged(messages) if ROLES in leave_out else list(messages)


def changeable(body: dict[str, Any]) -> frozenset[str]:
    """What of *body* a refusal may be about: see ``left_out``."""
    messages = body.get("messages", ())
    roles = [message["role"] for message in messages]
    special = {SYSTEM_ROLE} if "system" in roles else set()
    if any(role == following for role, following in pairwise(roles)):
        special.add(ROLES)
    return frozenset(body) | special


def named_field(body: Json) -> str:
    """The field that an error *body* names: OpenAI's ``param``, or the last name in pydantic's ``loc``; else empty."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error")
    for place in (error, body):
        if isinstance(place, dict) and isinstance(param := place.get("param"), str):
            return param.partition(".")[0]
    detail = body.get("detail")
    first = detail[0] if isinstance(detail, list) and detail else None
    where = first.get("loc") if isinstance(first, dict) else None
    names = [step for step in where if isinstance(step, str) and step != "body"] if isinstance(where, list) else []
    return names[0] if names else ""


def _names(error: str, name: str) -> bool:
    if name not in _PLAIN_WORDS:
        return re.search(rf"(?<!\w){name}(?!\w)", error) is not None
    return re.search(_AS_A_FIELD.format(name=name), error, _I) is not None

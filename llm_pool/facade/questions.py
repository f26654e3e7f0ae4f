"""What a program may ask: a text, JSON for a task that takes it, a conversation, or a whole Query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query, StrategyName, Think, Turn


class Message(TypedDict):
    """One turn of a conversation, as OpenAI's clients write it."""

    role: Literal["system", "user", "assistant"]
    content: str


Question: TypeAlias = str | Mapping[str, Any] | Query
"""A text, the JSON object that a task takes, or everything at once."""


class Options(TypedDict, total=False):
    """
    How a question is to be answered; what is left out is as configured.

    Attributes:
        task: name of a task; left out, it is a plain question.
        system: what the models are told before the question.
        strategy: FASTEST, VOTING, WEIGHTED, CONSENSUS or JUDGE, in any letter case.
        deadline: seconds from now.
        max_tokens: length of the answer at most.
        temperature: 0 to 2.
        stop: texts before which the answer ends.
        providers: names of the only ones that may be asked.
        think: whether the models think first; ``"low"``, ``"medium"`` or ``"high"`` says how long.
        no_cache: neither use nor fill the cache.
        request_id: of one's own; the same id again gives the same answer and asks no model.
        meta: words of one's own that travel along.
    """

    task: str
    system: str
    strategy: StrategyName | str
    deadline: float
    max_tokens: int
    temperature: float
    seed: int
    stop: Sequence[str]
    providers: Sequence[str]
    think: Think
    no_cache: bool
    request_id: str
    project_id: str
    meta: Mapping[str, str]


def query_of(question: Question | Sequence[Message], options: Options) -> Query:
    """
    *question*, or the last word of a conversation, as a Query.

    Raises:
        InvalidRequest: an option is none or has a value that it cannot have; a message likewise.
    """
    fields: dict[str, Any] = {**options}
    if unknown := fields.keys() - Options.__optional_keys__:
        known = ", ".join(sorted(Options.__optional_keys__))
        raise InvalidRequest(min(unknown), "there is no such option", hint=f"options are {known}")
    if "strategy" in fields:
        from llm_pool.engine import parse_strategy

        fields["strategy"] = parse_strategy(str(fields["strategy"]))
    if "providers" in fields:
        fields["providers"] = _texts("providers", fields["providers"])
    if "stop" in fields:
        fields["stop"] = tuple(filter(None, _texts("stop", fields["stop"])))  # every text has the empty one in it
    query = _query(question)
    if system := fields.pop("system", ""):
        fields["turns"] = (Turn("system", system), *query.turns)
    return msgspec.structs.replace(query, **fields)


def _query(question: Question | Sequence[Message]) -> Query:
    match question:
        case Query():
            return question
        case str():
            return Query(prompt=question)
        case Mapping():
            return Query(prompt=msgspec.json.encode(question).decode())
        case _:
            return _conversation(question)


def _conversation(messages: Sequence[Message]) -> Query:
    """The last of *messages* is the question, the others are what was said before."""
    try:
        turns = [Turn(message["role"], message["content"]) for message in msgspec.convert(messages, list[Message])]
    except msgspec.ValidationError as error:
        raise InvalidRequest("messages", str(error)) from None
    if not turns or turns[-1].role != "user":
        raise InvalidRequest("messages", "the user asks nothing at their end", hint="end with a message of role user")
    return Query(prompt=turns[-1].text, turns=tuple(turns[:-1]))


def _texts(name: str, value: Sequence[str]) -> tuple[str, ...]:
    if isinstance(value, str):  # a sequence of letters, and never meant
        raise InvalidRequest(name, f"expected a list of texts, got {value!r}")
    return tuple(value)

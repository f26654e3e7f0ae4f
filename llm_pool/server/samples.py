"""
Several answers to one question (``n`` of OpenAI's APIs): each is a request of its own to the engine.

Nothing is shared among them, cached or taken from a cache. They are asked at once, and the engine's queues see to the
rest. Whoever leaves cancels all of them; one that fails fails the whole.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Protocol

import msgspec

from llm_pool.core.errors import InvalidRequest, LlmPoolError
from llm_pool.server.chat import ChatEncoder, StreamEnd, Telling, as_conversation, decision_header
from llm_pool.server.exchange import EXCHANGE
from llm_pool.server.middleware import send_json
from llm_pool.server.request_context import authorized
from llm_pool.server.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from llm_pool.core.messages import Answer, Json, Query
    from llm_pool.engine import PoolManager
    from llm_pool.server.exchange import Exchange
    from llm_pool.server.middleware import AccessControl, Scope, Send

MAX_SAMPLES = 8
"""Answers to one question."""


class SampleEncoder(ChatEncoder, Protocol):
    """How one of several answers is told."""

    def last(self, end: StreamEnd) -> bytes:
        """The end of this answer, and not yet of the stream."""

    def closing(self, answers: Sequence[Answer]) -> bytes:
        """The end of the stream."""


def samples(n: int | None) -> int:
    """How many answers a request for *n* wants; raises InvalidRequest for less than one or more than MAX_SAMPLES."""
    if n is not None and not 1 <= n <= MAX_SAMPLES:
        raise InvalidRequest("n", f"expected 1 to {MAX_SAMPLES} answers, got {n}")
    return n or 1


async def respond_samples(
    manager: PoolManager,
    access: AccessControl,
    scope: Scope,
    query: Query,
    encoders: Sequence[SampleEncoder],
    send: Send,
    *,
    stream: bool,
    fields: Mapping[str, str] | None = None,
) -> None:
    """
    Answer *query* once for each of *encoders*, as a stream or whole.

    *fields*: how the client wrote a field of the query, where its API has another name for it.

    Raises:
        LlmPoolError: before anything was sent; later ones end the stream.
    """
    async with authorized(access, scope, as_conversation(query), fields) as allowed:
        queries = _apart(allowed, len(encoders))
        if stream:
            await _stream(manager, queries, encoders, scope[EXCHANGE])
            return
        answers = await _together([manager.infer(query) for query in queries])
        await send_json(send, _merged(answers, encoders), headers=[decision_header(answers[0])])


def _apart(query: Query, count: int) -> list[Query]:
    """*query* for each answer: uncached, with an id and a seed of its own that the first one's decide."""
    return [
        msgspec.structs.replace(query, no_cache=True, request_id=_id(query.request_id, at), seed=_seed(query.seed, at))
        for at in range(count)
    ]


def _id(request_id: str, at: int) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{request_id}/{at}").hex if request_id and at else request_id


def _seed(seed: int | None, at: int) -> int | None:
    """One of many seeds, of as many bits: the same seed would give the same answer."""
    return None if seed is None else seed - at if seed > 0 else seed + at


def _merged(answers: Sequence[Answer], encoders: Sequence[SampleEncoder]) -> dict[str, Json]:
    """One body with a choice for each answer, and what all of them spent."""
    bodies = [encoder.whole(answer) for encoder, answer in zip(encoders, answers, strict=True)]
    spent = {name: sum(body["usage"][name] for body in bodies) for name in bodies[0]["usage"]}
    return {**bodies[0], "choices": [choice for body in bodies for choice in body["choices"]], "usage": spent}


async def _stream(
    manager: PoolManager, queries: Sequence[Query], encoders: Sequence[SampleEncoder], exchange: Exchange
) -> None:
    """Every answer's pieces as they come."""
    tellings = [Telling(encoder, exchange, encoder.last) for encoder in encoders]
    ended: list[bytes] = []

    def told() -> bytes:
        pieces = b"".join([telling.told() for telling in tellings])
        pieces += b"".join(ended)
        ended.clear()
        return pieces

    async def answer(query: Query, telling: Telling) -> Answer:
        found = await manager.infer(query, telling.on)
        ended.append(telling.told() + telling.ending(found))
        telling.wake()
        return found

    with Stream(exchange, told, tellings[0].heartbeat) as stream:
        for telling in tellings:
            telling.wake = stream.wake
        try:
            answers = await _together([answer(query, one) for query, one in zip(queries, tellings, strict=True)])
            rest = told() + encoders[0].closing(answers)
        except LlmPoolError as error:
            rest = told()
            if not (rest or exchange.has_begun):
                raise
            rest += encoders[0].failed(error)
    await exchange.end(rest)


async def _together(answering: Sequence[Coroutine[None, None, Answer]]) -> list[Answer]:
    """Every answer; the first error ends them all."""
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(one) for one in answering]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in running]

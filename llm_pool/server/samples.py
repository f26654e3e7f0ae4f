"""
Several answers to one question (``n`` of OpenAI's APIs): each is a request of its own to the engine.

Nothing is shared among them, cached or taken from a cache. They are asked at once, and the engine's queues see to the
rest. Whoever leaves cancels all of them; one that fails fails the whole.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from llm_pool.core.errors import InvalidRequest, LlmPoolError
from llm_pool.server.chat import (
    CallDelta,
    ChatEncoder,
    StreamEnd,
    TextDelta,
    ThinkingDelta,
    as_conversation,
    decision_header,
    early_header,
    stream_text,
)
from llm_pool.server.middleware import send_json
from llm_pool.server.request_context import authorized

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.messages import Answer, Json, Query
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Heard
    from llm_pool.server.middleware import AccessControl, Scope, Send

    Piece: TypeAlias = "tuple[int, Heard | StreamEnd]"

MAX_SAMPLES = 8
"""Answers to one question."""
_AHEAD = 64
"""Pieces that may wait for a client who reads slowly."""


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
            await _stream(manager, queries, encoders, send)
            return
        answers = await _all(manager, queries)
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


async def _all(manager: PoolManager, queries: Sequence[Query]) -> list[Answer]:
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(manager.infer(query)) for query in queries]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in running]


def _merged(answers: Sequence[Answer], encoders: Sequence[SampleEncoder]) -> dict[str, Json]:
    """One body with a choice for each answer, and what all of them spent."""
    bodies = [encoder.whole(answer) for encoder, answer in zip(encoders, answers, strict=True)]
    spent = {name: sum(body["usage"][name] for body in bodies) for name in bodies[0]["usage"]}
    return {**bodies[0], "choices": [choice for body in bodies for choice in body["choices"]], "usage": spent}


async def _stream(
    manager: PoolManager, queries: Sequence[Query], encoders: Sequence[SampleEncoder], send: Send
) -> None:
    """Every answer's pieces as they come."""
    pieces: asyncio.Queue[Piece] = asyncio.Queue(_AHEAD)
    out = _Way(send, encoders[0].content_type)

    async def read(at: int) -> None:
        async with aclosing(stream_text(manager, queries[at])) as heard:
            async for piece in heard:
                await pieces.put((at, piece))

    async def write() -> None:
        answers: dict[int, Answer] = {}
        begun: set[int] = set()
        while len(answers) < len(encoders):
            at, piece = await pieces.get()
            if isinstance(piece, StreamEnd):
                answers[at] = piece.answer
            opening = b"" if at in begun else encoders[at].opening()
            if told := _encoded(encoders[at], piece):
                begun.add(at)
                await out.send(opening + told, _header(piece))
        await out.send(encoders[0].closing([answers[at] for at in range(len(encoders))]))

    try:
        async with asyncio.TaskGroup() as group:
            for at in range(len(encoders)):
                group.create_task(read(at))
            group.create_task(write())
    except ExceptionGroup as failures:
        error = failures.exceptions[0]
        if not isinstance(error, LlmPoolError) or not out.began:
            raise error from None
        await out.send(encoders[0].failed(error))
    await send({"type": "http.response.body", "body": b""})


def _encoded(encoder: SampleEncoder, piece: Heard | StreamEnd) -> bytes:
    match piece:
        case StreamEnd():
            return encoder.last(piece)
        case TextDelta(""):
            return encoder.heartbeat()
        case TextDelta():
            return encoder.piece(piece.text)
        case ThinkingDelta():
            return encoder.thought(piece.text)
        case CallDelta():
            return encoder.called(piece.piece)


def _header(piece: Heard | StreamEnd) -> tuple[bytes, bytes]:
    return decision_header(piece.answer) if isinstance(piece, StreamEnd) else early_header(piece.provider)


class _Way:
    """The way out; *began*: its status is sent."""

    def __init__(self, send: Send, content_type: bytes) -> None:
        self._send, self._content_type, self.began = send, content_type, False

    async def send(self, data: bytes, *headers: tuple[bytes, bytes]) -> None:
        if not self.began:
            self.began = True
            own = [(b"content-type", self._content_type), (b"x-accel-buffering", b"no")]
            await self._send({"type": "http.response.start", "status": 200, "headers": [*own, *headers]})
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

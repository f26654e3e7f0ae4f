"""What the OpenAI and Ollama APIs have in common: models by name, conversations, and streamed text."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from llm_pool.config.problem import nearest
from llm_pool.config.values import POOL
from llm_pool.core.errors import AllProvidersFailed, InvalidRequest, LlmPoolError, UnknownModel
from llm_pool.core.events import TextArrived
from llm_pool.core.messages import Query, StrategyName, Turn
from llm_pool.server.middleware import send_json
from llm_pool.server.request_context import authorized
from llm_pool.wire.json import answer_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Json
    from llm_pool.engine import PoolManager
    from llm_pool.server.middleware import AccessControl, Scope, Send

PING_EVERY = 15.0
"""Seconds of silence after which a stream shows that it lives."""
DECISION_HEADER = b"x-llm-pool-decision"

_ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class Model(msgspec.Struct, frozen=True):
    """
    What a model's name stands for.

    Attributes:
        providers: the only ones to ask; empty: the task's panel.
    """

    name: str
    task: str = "ask"
    strategy: StrategyName | None = None
    providers: tuple[str, ...] = ()


class TextDelta(NamedTuple):
    """A piece of the answer, from *provider*; empty after a long silence."""

    text: str
    provider: str = ""


class StreamEnd(NamedTuple):
    """The end of an answer; *rest* is what was not spoken yet of its text."""

    answer: Answer
    rest: str


class ChatEncoder(Protocol):
    """How an API tells an answer, whole or as a stream."""

    content_type: bytes

    def whole(self, answer: Answer) -> dict[str, Json]:
        """All of it in one body."""

    def opening(self) -> bytes:
        """What comes before all else."""

    def piece(self, text: str) -> bytes:
        """A piece of text."""

    def heartbeat(self) -> bytes:
        """Something that says nothing."""

    def ending(self, end: StreamEnd) -> bytes:
        """The rest of the text, and the end."""

    def failed(self, error: LlmPoolError) -> bytes:
        """The end of a stream that broke off."""


async def models(manager: PoolManager) -> dict[str, Model]:
    """
    Every model there is to choose, by name.

    ``pool``; ``pool/voting`` and the like, where the strategy is not switched off; ``pool/task/NAME``, where the task
    is not; each provider alone; and the names that ``[models]`` gives to any of these.
    """
    config = manager.config
    found = [Model(POOL)]
    found += [Model(f"{POOL}/{name.lower()}", strategy=name) for name in StrategyName if _is_on(name, config)]
    tasks = [task.name for task in await manager.tasks() if config.task(task.name).enabled]
    found += [Model(f"{POOL}/task/{task}", task=task) for task in tasks]
    alone = StrategyName.FASTEST if _is_on(StrategyName.FASTEST, config) else None
    named = [settings.name for settings in config.active_providers]
    known = {
        **{name: Model(name, strategy=alone, providers=(name,)) for name in named},
        **{model.name: model for model in found},
    }
    meant = {alias: known.get(config.model_named_by(alias)) for alias in config.models}
    aliases = {alias: msgspec.structs.replace(model, name=alias) for alias, model in meant.items() if model is not None}
    return {**known, **aliases}


async def model_named(name: str, manager: PoolManager) -> Model:
    """The model *name*, with or without Ollama's ``:latest``; raises UnknownModel."""
    known = await models(manager)
    model = known.get(name) or known.get(name.removesuffix(":latest")) or known.get(f"{name}:latest")
    if model is None:
        raise UnknownModel(name, hint=nearest(name, known) or f"models are {', '.join(known)}")
    return model


def turn(role: str, text: str, place: str) -> Turn:
    """A turn of a conversation; *place* names it in errors. Raises InvalidRequest for a role nobody plays here."""
    if role not in _ROLES:
        raise InvalidRequest(f"{place}.role", f"expected system, user or assistant, got '{role[:40]}'")
    return Turn(_ROLES[role], text)


def question(turns: Sequence[Turn]) -> tuple[str, tuple[Turn, ...]]:
    """
    What the user asks last, and all the other turns that say something.

    Raises:
        InvalidRequest: the user does not have the last word, apart from system texts.
    """
    said = [turn for turn in turns if turn.text.strip()]
    last = next((at for at in reversed(range(len(said))) if said[at].role != "system"), None)
    if last is None or said[last].role != "user":
        raise InvalidRequest("messages", "the user asks nothing at their end", hint="end with a message of role user")
    return said[last].text, tuple(said[:last] + said[last + 1 :])


async def respond(
    manager: PoolManager,
    access: AccessControl,
    scope: Scope,
    query: Query,
    encoder: ChatEncoder,
    send: Send,
    *,
    stream: bool,
    fields: Mapping[str, str] | None = None,
) -> None:
    """
    Answer *query* in *encoder*, as a stream or whole; raises LlmPoolError before anything was sent.

    *fields*: how the client wrote a field of the query, where its API has another name for it.
    """
    async with authorized(access, scope, query, fields) as allowed:
        if stream:
            await stream_answer(manager, allowed, encoder, send)
        else:
            answer = await manager.infer(allowed)
            await send_json(send, encoder.whole(answer), headers=[decision_header(answer)])


async def stream_answer(manager: PoolManager, query: Query, encoder: ChatEncoder, send: Send) -> None:
    """
    Stream the answer to *query* in *encoder*.

    Raises:
        LlmPoolError: before anything was sent, so that its status still can be; later ones end the stream.
    """
    out = _ResponseStream(encoder, send)
    try:
        async with aclosing(stream_text(manager, query)) as pieces:
            async for said in pieces:
                match said:
                    case StreamEnd():
                        await out.send(encoder.ending(said), decision_header(said.answer))
                    case TextDelta(""):
                        await out.send(encoder.heartbeat())
                    case TextDelta():
                        await out.send(encoder.piece(said.text), early_header(said))
    except LlmPoolError as error:
        if not out.began:
            raise
        await out.send(encoder.failed(error))
    await send({"type": "http.response.body", "body": b""})


async def stream_text(manager: PoolManager, query: Query) -> AsyncGenerator[TextDelta | StreamEnd]:
    """
    The answer to *query* as it is decided: its text, last its end.

    Only text that is the answer's own is spoken, since these APIs cannot take anything back: token by token where
    the first to write owns the answer (FASTEST, free text), else all of it as soon as it is decided.

    Raises:
        LlmPoolError: no answer came of it, or the one that was being spoken broke off.
    """
    buffer = _TextBuffer()
    inference = asyncio.create_task(manager.infer(query, buffer.on))
    inference.add_done_callback(lambda _: buffer.queue.put_nowait(""))
    try:
        while not inference.done() or not buffer.queue.empty():
            text = await buffer.next()
            if text is not None:
                yield text
        answer = await inference
        yield StreamEnd(answer, buffer.rest_of(answer))
    finally:
        inference.cancel()
        await asyncio.wait([inference])


class _ResponseStream:
    """The way out of a stream; *began*: its status is sent."""

    def __init__(self, encoder: ChatEncoder, send: Send) -> None:
        self._encoder, self._send, self.began = encoder, send, False

    async def send(self, data: bytes, *headers: tuple[bytes, bytes]) -> None:
        if not self.began:
            self.began = True
            own = [(b"content-type", self._encoder.content_type), (b"x-accel-buffering", b"no")]
            await self._send({"type": "http.response.start", "status": 200, "headers": [*own, *headers]})
            data = self._encoder.opening() + data
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


class _TextBuffer:
    """Hears what belongs to the answer."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self._owner, self._sent = "", ""

    def on(self, event: Event) -> None:
        if isinstance(event, TextArrived) and event.committed and self._owner in {"", event.provider}:
            self._owner = event.provider
            self.queue.put_nowait(event.text)

    async def next(self) -> TextDelta | None:
        """What was heard meanwhile; None if it says nothing, an empty text after a long silence."""
        try:
            async with asyncio.timeout(PING_EVERY):
                text = await self.queue.get()
        except TimeoutError:
            return TextDelta("")
        while not self.queue.empty():
            text += self.queue.get_nowait()
        if not self._sent:
            text = text.lstrip()  # as answers that come in one piece
        self._sent += text
        return TextDelta(text, self._owner) if text else None

    def rest_of(self, answer: Answer) -> str:
        if not self._sent:
            return answer.content
        if self._sent.rstrip() != answer.content:
            raise AllProvidersFailed(answer.task, answer.decision.attempts)
        return ""


def finish(answer: Answer) -> Literal["stop", "length"]:
    """Why the answer ends where it does, in the words of these APIs: one that was cut ended at its length."""
    return "stop" if answer.finish == "stop" else "length"


def decision_details(answer: Answer, ignored: Sequence[str]) -> dict[str, Json]:
    """The ``llm_pool`` field: how *answer* came to be, and what the request asked for in vain."""
    said = answer_json(answer)
    return {**{name: said[name] for name in said if name not in {"content", "json"}}, "ignored": list(ignored)}


def decision_header(answer: Answer) -> tuple[bytes, bytes]:
    """The decision in a line: ``strategy=FASTEST; winner=phi3; attempts=2; cached=0; degraded=0``."""
    line = (
        f"strategy={answer.strategy_used.value}; winner={quote(answer.winner)}; "
        f"attempts={len(answer.decision.attempts)}; cached={answer.from_cache:d}; degraded={answer.degraded:d}"
    )
    return DECISION_HEADER, line.encode()


def early_header(text: TextDelta) -> tuple[bytes, bytes]:
    """What is known of the decision when *text* begins the answer."""
    return DECISION_HEADER, f"winner={quote(text.provider)}".encode()


def reject_unsupported(said: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    """Raise InvalidRequest for the first field of *said* that asks for what *refused* says is not to be had."""
    for field, reason in refused.items():
        if said.get(field):
            raise InvalidRequest(field, reason)


def _is_on(name: StrategyName, config: Config) -> bool:
    return name not in config.ensemble.disabled

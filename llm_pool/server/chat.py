"""What the OpenAI and Ollama APIs have in common: models by name, conversations, and streamed text."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias
from urllib.parse import quote

import msgspec

from llm_pool.config.models import EMBED
from llm_pool.config.problem import nearest
from llm_pool.config.values import POOL
from llm_pool.core.errors import AllProvidersFailed, InvalidRequest, LlmPoolError, UnknownModel
from llm_pool.core.events import AttemptStarted, ReasoningArrived, TextArrived, ToolCallArrived
from llm_pool.core.messages import Query, StrategyName, ToolCall, Turn
from llm_pool.server.middleware import send_json
from llm_pool.server.request_context import authorized
from llm_pool.wire.json import answer_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Json, ToolCallDelta
    from llm_pool.engine import PoolManager
    from llm_pool.server.middleware import AccessControl, Scope, Send

ASK = "ask"
"""The task of a question that names none."""
PING_EVERY = 15.0
"""Seconds of silence after which a stream shows that it lives."""
MAX_KEPT = 64 * 1024
"""Characters of a model's thoughts that are kept until it is known whether the answer is its own."""
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


class ThinkingDelta(NamedTuple):
    """A piece of what *provider* thinks before it answers."""

    text: str
    provider: str


class CallDelta(NamedTuple):
    """A piece of a call that the answer makes, from *provider*."""

    piece: ToolCallDelta
    provider: str


class StreamEnd(NamedTuple):
    """The end of an answer; *rest* is what was not spoken yet of its text, *calls* what was not of its calls."""

    answer: Answer
    rest: str
    calls: tuple[ToolCall, ...] = ()


Heard: TypeAlias = TextDelta | ThinkingDelta | CallDelta
"""What is told of an answer before its end."""


class ChatEncoder(Protocol):
    """How an API tells an answer, whole or as a stream."""

    content_type: bytes

    def whole(self, answer: Answer) -> dict[str, Json]:
        """All of it in one body."""

    def opening(self) -> bytes:
        """What comes before all else."""

    def piece(self, text: str) -> bytes:
        """A piece of text."""

    def thought(self, text: str) -> bytes:
        """A piece of what the model thinks; nothing where the API has no place for it."""

    def called(self, piece: ToolCallDelta) -> bytes:
        """A piece of a call; nothing where the API tells calls whole, as ``ending`` does."""

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
    named = [settings.name for settings in config.answering_providers]
    known = {
        **{name: Model(name, strategy=alone, providers=(name,)) for name in named},
        **{model.name: model for model in found},
    }
    meant = {alias: known.get(config.model_named_by(alias)) for alias in config.models}
    aliases = {alias: msgspec.structs.replace(model, name=alias) for alias, model in meant.items() if model is not None}
    return {**known, **aliases}


async def capabilities(model: Model, manager: PoolManager) -> list[str]:
    """
    What one at least of the models behind *model* can do: ``completion``, ``tools``, ``vision``, ``thinking``; or
    ``embedding`` alone.
    """
    if model.task == EMBED:
        return ["embedding"]
    return sorted(await manager.capabilities(model.task, model.providers))


async def model_named(name: str, manager: PoolManager) -> Model:
    """The model *name* that answers, with or without Ollama's ``:latest``; raises UnknownModel."""
    return find_model(name, await models(manager))


def find_model(name: str, known: Mapping[str, Model]) -> Model:
    """The one of *known* that *name* means; as ``model_named``."""
    model = known.get(name) or known.get(name.removesuffix(":latest")) or known.get(f"{name}:latest")
    if model is None:
        raise UnknownModel(name, hint=nearest(name, known) or f"models are {', '.join(known)}")
    return model


def turn(role: str, text: str, place: str, *, may_be_tool: bool = False) -> Turn:
    """A turn of a conversation; *place* names it in errors. Raises InvalidRequest for a role nobody plays here."""
    if may_be_tool and role == "tool":
        return Turn("tool", text)
    if role not in _ROLES:
        known = "system, user, assistant or tool" if may_be_tool else "system, user or assistant"
        raise InvalidRequest(f"{place}.role", f"expected {known}, got '{role[:40]}'")
    return Turn(_ROLES[role], text)


def as_conversation(query: Query) -> Query:
    """
    *query* as clients of these APIs mean it.

    A plain question is answered anew each time, as "regenerate" asks for, unless its answer is pinned by a temperature
    of 0 or a seed. JSON that its length cut off is told as it is.
    """
    is_pinned = query.temperature == 0 or query.seed is not None
    anew = query.task == ASK and not is_pinned
    return msgspec.structs.replace(query, takes_cut=True, no_cache=query.no_cache or anew)


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
    async with authorized(access, scope, as_conversation(query), fields) as allowed:
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
                        await out.send(partial(encoder.ending, said), decision_header(said.answer))
                    case TextDelta(""):
                        await out.send(encoder.heartbeat)
                    case TextDelta():
                        await out.send(partial(encoder.piece, said.text), early_header(said.provider))
                    case ThinkingDelta():
                        await out.send(partial(encoder.thought, said.text), early_header(said.provider))
                    case CallDelta():
                        await out.send(partial(encoder.called, said.piece), early_header(said.provider))
    except LlmPoolError as error:
        if not out.began:
            raise
        await out.send(partial(encoder.failed, error))
    await send({"type": "http.response.body", "body": b""})


async def stream_text(manager: PoolManager, query: Query) -> AsyncGenerator[Heard | StreamEnd]:
    """
    The answer to *query* as it is decided: what its model thinks, its text, its calls of tools, last its end.

    Only what is the answer's own is spoken, since these APIs cannot take anything back: token by token where
    the first to write owns the answer (FASTEST, free text or calls), else all of it as soon as it is decided.
    Thoughts are told as they come while one model alone is asked; where there are several, the winner's before its
    text.

    Raises:
        LlmPoolError: no answer came of it, or the one that was being spoken broke off.
    """
    heard = _Heard()
    inference = asyncio.create_task(manager.infer(query, heard.on))
    inference.add_done_callback(lambda _: heard.end())
    try:
        while not inference.done() or heard.has_more:
            for piece in await heard.next():
                yield piece
        answer = await inference
        for last in heard.rest_of(answer):
            yield last
    finally:
        inference.cancel()
        await asyncio.wait([inference])


class _ResponseStream:
    """The way out of a stream; *began*: its status is sent."""

    def __init__(self, encoder: ChatEncoder, send: Send) -> None:
        self._encoder, self._send, self.began = encoder, send, False
        self._opening: bytes | None = None

    async def send(self, encode: Callable[[], bytes], *headers: tuple[bytes, bytes]) -> None:
        """Send what *encode* gives, if that is anything; before it, the first time, headers and the opening."""
        if self._opening is None:
            self._opening = self._encoder.opening()
        if not (data := encode()):
            return
        if not self.began:
            self.began = True
            own = [(b"content-type", self._encoder.content_type), (b"x-accel-buffering", b"no")]
            await self._send({"type": "http.response.start", "status": 200, "headers": [*own, *headers]})
        opening, self._opening = self._opening, b""
        await self._send({"type": "http.response.body", "body": opening + data, "more_body": True})


class _Heard:
    """Hears what belongs to the answer: its text, its calls, and what its model thinks."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[Heard | None] = asyncio.Queue()
        self._thoughts = _Thoughts()
        self._owner, self._sent = "", ""
        self._calls: list[ToolCall] = []

    @property
    def has_more(self) -> bool:
        """Whether something was heard that ``next`` has not given yet."""
        return not self._pieces.empty()

    def on(self, event: Event) -> None:
        match event:
            case TextArrived(committed=True) if self._owner in {"", event.provider}:
                self._own(event.provider)
                self._pieces.put_nowait(TextDelta(event.text, event.provider))
            case ToolCallArrived(committed=True) if self._owner in {"", event.provider}:
                self._own(event.provider)
                self._pieces.put_nowait(CallDelta(event.piece, event.provider))
            case ReasoningArrived() if self._owner in {"", event.provider}:
                self._tell(self._thoughts.heard(event))
            case AttemptStarted():
                self._thoughts.note_asked()
            case _:
                pass

    def end(self) -> None:
        """Nothing more comes."""
        self._pieces.put_nowait(None)

    async def next(self) -> list[Heard]:
        """What was heard meanwhile, pieces of one kind joined; an empty text after a long silence."""
        try:
            async with asyncio.timeout(PING_EVERY):
                pieces = [await self._pieces.get()]
        except TimeoutError:
            return [TextDelta("")]
        while not self._pieces.empty():
            pieces.append(self._pieces.get_nowait())
        joined: list[Heard] = []
        for piece in pieces:
            if isinstance(piece, CallDelta):
                self._note_call(piece.piece)
                joined.append(piece)
            elif piece is not None and (told := self._told(piece)).text:
                _join(joined, told)
        return joined

    def rest_of(self, answer: Answer) -> list[ThinkingDelta | StreamEnd]:
        """What of *answer* was not told yet, last its end; raises AllProvidersFailed where another was being told."""
        text_differs = self._sent and self._sent.rstrip() != answer.content
        if text_differs or (self._calls and tuple(self._calls) != answer.tool_calls):
            raise AllProvidersFailed(answer.task, answer.decision.attempts)
        rest = "" if self._sent else answer.content
        thought = "" if self._sent else self._thoughts.of_winner(answer.winner, thinking_of(answer))
        said: list[ThinkingDelta | StreamEnd] = [ThinkingDelta(thought, answer.winner)] if thought else []
        return [*said, StreamEnd(answer, rest, () if self._calls else answer.tool_calls)]

    def _own(self, provider: str) -> None:
        """The answer is *provider*'s from now on."""
        if not self._owner:
            self._owner = provider
            self._tell(self._thoughts.of_owner(provider))

    def _note_call(self, piece: ToolCallDelta) -> None:
        if piece.index == len(self._calls):
            self._calls.append(ToolCall(piece.id, piece.name, ""))
        call = self._calls[piece.index]
        self._calls[piece.index] = msgspec.structs.replace(call, arguments=call.arguments + piece.arguments)

    def _tell(self, thought: ThinkingDelta) -> None:
        if thought.text:
            self._pieces.put_nowait(thought)

    def _told(self, piece: TextDelta | ThinkingDelta) -> TextDelta | ThinkingDelta:
        if isinstance(piece, TextDelta):
            if not self._sent:
                piece = piece._replace(text=piece.text.lstrip())  # as answers that come in one piece
            self._sent += piece.text
        return piece


def _join(pieces: list[Heard], more: TextDelta | ThinkingDelta) -> None:
    """Add *more* to *pieces*, to the last of them where that is of its kind and provider."""
    last = pieces[-1] if pieces else None
    if isinstance(last, TextDelta | ThinkingDelta) and type(last) is type(more) and last.provider == more.provider:
        pieces[-1] = last._replace(text=last.text + more.text)
    else:
        pieces.append(more)


class _Thoughts:
    """
    Whose thoughts are told, and when.

    One model's at once, as long as nobody else is asked. Of several the beginning of each one's is kept, MAX_KEPT
    characters, until it is known whose answer it is. Thoughts of a model that was told and lost stay told; a gap parts
    them from the winner's.
    """

    def __init__(self) -> None:
        self._asked, self._told_of = 0, ""
        self._kept: dict[str, list[str]] = {}
        self._lengths = Counter[str]()
        self._owner = ""

    def note_asked(self) -> None:
        """One more model is asked."""
        self._asked += 1

    def heard(self, event: ReasoningArrived) -> ThinkingDelta:
        """What of it may be told now."""
        if self._asked <= 1 or event.provider == self._owner:
            return self._tell(event.provider, event.text)
        if room := MAX_KEPT - self._lengths[event.provider]:
            kept = event.text[:room]
            self._kept.setdefault(event.provider, []).append(kept)
            self._lengths[event.provider] += len(kept)
        return ThinkingDelta("", event.provider)

    def of_owner(self, provider: str) -> ThinkingDelta:
        """What *provider*, whose answer it is from now on, thought and was not told yet."""
        self._owner = provider
        return self._tell(provider, "".join(self._kept.pop(provider, ())))

    def of_winner(self, provider: str, thinking: str) -> str:
        """What was not told yet of *thinking*, all that the *provider* thought whose answer it is in the end."""
        untold = "".join(self._kept.get(provider, ())) if self._told_of == provider else thinking
        return self._tell(provider, untold).text

    def _tell(self, provider: str, text: str) -> ThinkingDelta:
        gap = "\n\n" if text and self._told_of not in {"", provider} else ""
        if text:
            self._told_of = provider
        return ThinkingDelta(gap + text, provider)


def thinking_of(answer: Answer) -> str:
    """What the winner thought, the beginning where it is long; empty where it did not, or the answer was kept."""
    won = answer.decision.winning_attempt
    return "" if won is None else won.reasoning


def finish(answer: Answer) -> Literal["stop", "length", "tool_calls"]:
    """Why the answer ends where it does, in the words of these APIs: one that was cut ended at its length."""
    return "length" if answer.finish == "repetition" else answer.finish


def instant(unix: float) -> str:
    """*unix*, in seconds, as Go writes it: ``2026-11-23T11:17:01.011926Z``."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


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


def early_header(provider: str) -> tuple[bytes, bytes]:
    """What is known of the decision when *provider* begins the answer."""
    return DECISION_HEADER, f"winner={quote(provider)}".encode()


def reject_unsupported(said: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    """Raise InvalidRequest for the first field of *said* that asks for what *refused* says is not to be had."""
    for field, reason in refused.items():
        if said.get(field):
            raise InvalidRequest(field, reason)


def _is_on(name: StrategyName, config: Config) -> bool:
    return name not in config.ensemble.disabled

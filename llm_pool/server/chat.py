"""What the OpenAI and Ollama APIs have in common: models by name, conversations, and streamed text."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

import msgspec

from llm_pool.config.models import EMBED
from llm_pool.config.problem import nearest
from llm_pool.config.values import POOL
from llm_pool.core.errors import AllProvidersFailed, InvalidRequest, LlmPoolError, UnknownModel
from llm_pool.core.events import AttemptStarted, ReasoningArrived, TextArrived, ToolCallArrived
from llm_pool.core.messages import Query, StrategyName, ToolCall, Turn
from llm_pool.server.exchange import EXCHANGE
from llm_pool.server.middleware import send_json
from llm_pool.server.request_context import authorized
from llm_pool.server.stream import Stream
from llm_pool.wire.json import answer_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_pool.config import Config
    from llm_pool.core.events import Event
    from llm_pool.core.messages import Answer, Json, ToolCallDelta
    from llm_pool.engine import PoolManager
    from llm_pool.server.exchange import Exchange
    from llm_pool.server.middleware import AccessControl, Scope, Send

ASK = "ask"
"""The task of a question that names none."""
MAX_KEPT = 64 * 1024
"""Characters of a model's thoughts that are kept until it is known whether the answer is its own."""
DECISION_HEADER = b"x-llm-pool-decision"
T = TypeVar("T")

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
    """A piece of the answer, from *provider*."""

    text: str
    provider: str


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


_listed = WeakKeyDictionary["PoolManager", tuple[int, dict[str, Model]]]()
"""The models of each pool, and the generation that they are of."""


async def models(manager: PoolManager) -> Mapping[str, Model]:
    """
    Every model there is to choose, by name; listed once for each generation, as the prompt files are looked for.

    ``pool``; ``pool/voting`` and the like, where the strategy is not switched off; ``pool/task/NAME``, where the task
    is not; each provider alone; and the names that ``[models]`` gives to any of these.
    """
    generation, known = _listed.get(manager, (0, {}))
    if generation != manager.generation:
        generation = manager.generation
        known = await _models(manager)
        _listed[manager] = generation, known
    return known


async def _models(manager: PoolManager) -> dict[str, Model]:
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
            await stream_answer(manager, allowed, encoder, scope[EXCHANGE])
        else:
            answer = await manager.infer(allowed)
            await send_json(send, encoder.whole(answer), headers=[decision_header(answer)])


async def stream_answer(manager: PoolManager, query: Query, encoder: ChatEncoder, exchange: Exchange) -> None:
    """
    Stream the answer to *query* in *encoder*.

    Raises:
        LlmPoolError: before anything was sent, so that its status still can be; later ones end the stream.
    """
    telling, told = Telling(encoder, exchange, encoder.ending), b""
    with Stream(exchange, telling.told, telling.heartbeat) as stream:
        telling.wake = stream.wake
        try:
            answer = await manager.infer(query, telling.on)
            told = telling.told()
            told += telling.ending(answer)
        except LlmPoolError as error:
            told = told or telling.told()
            if not (told or exchange.has_begun):
                raise
            told += encoder.failed(error)
    await exchange.end(told)


class Telling:
    """
    An answer as it is decided, in the words of *encoder*: what its model thinks, its text, its calls, last its end.

    Only what is the answer's own is spoken, since these APIs cannot take anything back: token by token where
    the first to write owns the answer (FASTEST, free text or calls), else all of it as soon as it is decided.
    Thoughts are told as they come while one model alone is asked; where there are several, the winner's before its
    text.

    Args:
        encoder: how it is told.
        exchange: begins with the first that is told.

    Attributes:
        wake: called when there is something to tell.
    """

    def __init__(self, encoder: ChatEncoder, exchange: Exchange, end: Callable[[StreamEnd], bytes]) -> None:
        self._encoder, self._exchange, self._end, self._heard = encoder, exchange, end, _Heard()
        self._opening = encoder.opening()
        self.wake: Callable[[], None] = lambda: None

    def on(self, event: Event) -> None:
        """Hear *event*."""
        if self._heard.on(event):
            self.wake()

    def told(self) -> bytes:
        """What was heard since, and belongs to the answer."""
        return b"".join(
            self._begun(self._encoded(piece), early_header, piece.provider) for piece in self._heard.taken()
        )

    def heartbeat(self) -> bytes:
        """Something that says nothing."""
        return self._begun(self._encoder.heartbeat(), early_header, "")

    def ending(self, answer: Answer) -> bytes:
        """What was not told yet of *answer*, and its end; raises AllProvidersFailed where another was being told."""
        thought, end = self._heard.rest_of(answer)
        told = b"" if thought is None else self._begun(self._encoded(thought), early_header, thought.provider)
        return told + self._begun(self._end(end), decision_header, answer)

    def _begun(self, told: bytes, header: Callable[[T], tuple[bytes, bytes]], subject: T) -> bytes:
        """*told*, with the opening before the first of all, whose head has *header* of *subject*."""
        if not told:
            return b""
        if not self._exchange.has_head:
            own = [(b"content-type", self._encoder.content_type), (b"x-accel-buffering", b"no")]
            self._exchange.begin([*own, header(subject)])
        opening, self._opening = self._opening, b""
        return opening + told

    def _encoded(self, piece: Heard) -> bytes:
        match piece:
            case TextDelta():
                return self._encoder.piece(piece.text)
            case ThinkingDelta():
                return self._encoder.thought(piece.text)
            case CallDelta():
                return self._encoder.called(piece.piece)


class _Heard:
    """Hears what belongs to the answer: its text, its calls, and what its model thinks."""

    def __init__(self) -> None:
        self._pieces: list[Heard] = []
        self._thoughts = _Thoughts()
        self._owner = ""
        self._sent: list[str] = []
        self._calls: list[ToolCall] = []

    def on(self, event: Event) -> bool:
        """Hear *event*; whether ``taken`` may give something now."""
        match event:
            case TextArrived(committed=True) if self._owner in {"", event.provider}:
                self._own(event.provider)
                self._pieces.append(TextDelta(event.text, event.provider))
            case ToolCallArrived(committed=True) if self._owner in {"", event.provider}:
                self._own(event.provider)
                self._pieces.append(CallDelta(event.piece, event.provider))
            case ReasoningArrived() if self._owner in {"", event.provider}:
                self._tell(self._thoughts.heard(event))
            case AttemptStarted():
                self._thoughts.note_asked()
        return bool(self._pieces)

    def taken(self) -> list[Heard]:
        """What was heard meanwhile, pieces of one kind joined."""
        joined: list[Heard] = []
        for piece in self._pieces:
            if isinstance(piece, CallDelta):
                self._note_call(piece.piece)
                joined.append(piece)
            elif (told := self._told(piece)).text:
                _join(joined, told)
        self._pieces.clear()
        return joined

    def rest_of(self, answer: Answer) -> tuple[ThinkingDelta | None, StreamEnd]:
        """
        What was not told yet of *answer*: what its model thought, if anything, and its end.

        Raises:
            AllProvidersFailed: another was being told.
        """
        sent = "".join(self._sent)
        text_differs = sent and sent.rstrip() != answer.content
        if text_differs or (self._calls and tuple(self._calls) != answer.tool_calls):
            raise AllProvidersFailed(answer.task, answer.decision.attempts)
        thought = "" if sent else self._thoughts.of_winner(answer.winner, thinking_of(answer))
        end = StreamEnd(answer, "" if sent else answer.content, () if self._calls else answer.tool_calls)
        return ThinkingDelta(thought, answer.winner) if thought else None, end

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
            self._pieces.append(thought)

    def _told(self, piece: TextDelta | ThinkingDelta) -> TextDelta | ThinkingDelta:
        if isinstance(piece, TextDelta):
            if not self._sent:
                piece = piece._replace(text=piece.text.lstrip())  # as answers that come in one piece
            if piece.text:
                self._sent.append(piece.text)
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


def reject_unsupported(body: msgspec.Struct, refused: Mapping[str, str]) -> None:
    """Raise InvalidRequest for the first field that *body* has and *refused* says is not to be had."""
    for field, reason in refused.items():
        if getattr(body, field, None):
            raise InvalidRequest(field, reason)


def _is_on(name: StrategyName, config: Config) -> bool:
    return name not in config.ensemble.disabled

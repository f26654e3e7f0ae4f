"""The pool with ``await``."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import msgspec

from llm_pool.config import Config
from llm_pool.core.errors import InvalidRequest
from llm_pool.facade.backend import LocalPool, open_daemon
from llm_pool.facade.questions import query_of
from llm_pool.facade.schemas import expectation
from llm_pool.facade.settings import config_from, config_of
from llm_pool.facade.streams import AsyncTextStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Unpack

    from llm_pool.client import Credentials, Health, Tls
    from llm_pool.core.messages import Query
    from llm_pool.facade.answer import Answer
    from llm_pool.facade.backend import Backend
    from llm_pool.facade.providers import ProviderInCode
    from llm_pool.facade.questions import Message, Options, Question
    from llm_pool.facade.schemas import JsonSchema
    from llm_pool.wire.json import StreamEvent

T = TypeVar("T")
_log = logging.getLogger("llm_pool")


class AsyncPool:
    """
    Several language models that answer as one. Close it, or use it as a context manager.

    Nothing is read or opened before the first question or ``async with``; from then on it belongs to that event loop.
    Without arguments it is the pool of the command line: the configuration file that is used, or the models that are
    found on this machine.

    Args:
        config: a file, or what ``load`` made of one.
        providers: the models to ask, instead of a file's; *settings* are tables over the built-in ones, such as
            ``{"qos": {"hedge": "off"}}``.
        url: a daemon that answers instead, ``http(s)://`` or ``grpc(s)://`` and ``host:port`` (the extra ``client``).
        credentials: who we are to it; None: what the environment says, as for the command line.
        tls: PEM files for a daemon of one's own.

    Raises:
        InvalidRequest: the arguments contradict each other.
    """

    def __init__(
        self,
        *,
        config: str | PathLike[str] | Config | None = None,
        providers: Sequence[ProviderInCode] = (),
        settings: Mapping[str, Any] | None = None,
        url: str | None = None,
        credentials: Credentials | None = None,
        tls: Tls | None = None,
    ) -> None:
        if sum((config is not None, bool(providers), url is not None)) > 1:
            raise InvalidRequest("Pool", "expected one of config, providers and url")
        if settings is not None and not providers:
            raise InvalidRequest("settings", "they go with providers", hint="a file has settings of its own")
        self._config, self._providers, self._settings = config, tuple(providers), dict(settings or {})
        self._url, self._credentials, self._tls = url, credentials, tls
        self._backend: Backend | None = None
        self._opening, self._closed = asyncio.Lock(), False

    @overload
    async def infer(self, question: Question, *, schema: type[T], **options: Unpack[Options]) -> Answer[T]: ...

    @overload
    async def infer(
        self, question: Question, *, schema: JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]: ...

    async def infer(
        self, question: Question, *, schema: type[Any] | JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]:
        """
        The answer to *question*.

        Args:
            question: a text, the JSON object that a task takes, or a whole Query.
            schema: what the answer's ``value`` shall be: a pydantic model, dataclass, TypedDict, msgspec Struct or
                another type; or a JSON Schema, for parsed JSON.
            options: as in ``Options``.

        Raises:
            LlmPoolError: ``InvalidRequest``, ``DeadlineExceeded``, ``AllProvidersFailed``, ``NoConsensus``,
                ``Overloaded``; ``BadReply`` where the answer fits the schema, and a check of the type's own refuses it;
                ``ConfigError`` from the first question, where the configuration cannot be used.
        """
        return await self._ask(query_of(question, options), schema)

    @overload
    async def chat(self, messages: Sequence[Message], *, schema: type[T], **options: Unpack[Options]) -> Answer[T]: ...

    @overload
    async def chat(
        self, messages: Sequence[Message], *, schema: JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]: ...

    async def chat(
        self, messages: Sequence[Message], *, schema: type[Any] | JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]:
        """The answer to the last of *messages*, the user's, in the light of the others; the rest as ``infer``."""
        return await self._ask(query_of(messages, options), schema)

    def stream(self, question: Question | Sequence[Message], **options: Unpack[Options]) -> AsyncTextStream:
        """
        The text of the answer as it is written: ``async for piece in pool.stream("...")``; errors as ``infer``.

        Args:
            question: as for ``infer``, or the messages of a conversation.
            options: likewise.
        """
        return AsyncTextStream(self._events(query_of(question, options)))

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """
        Say how good the answer to *request_id* was.

        Returns:
            Whether somebody gains or loses trust by it; where all models agreed, nobody does over the others.

        Raises:
            InvalidRequest: no answer of several models is kept under that id.
        """
        return await (await self._opened()).feedback(request_id, good=good)

    async def health(self) -> Health:
        """How the models are, within about a second; asks none of them a question."""
        return await (await self._opened()).health()

    async def aclose(self) -> None:
        """Close connections and engines; what was learned is kept. Idempotent."""
        async with self._opening:
            self._closed = True
            backend, self._backend = self._backend, None
            if backend is not None:
                await backend.aclose()

    async def __aenter__(self) -> Self:
        await self._opened()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, query: Query, schema: type[Any] | JsonSchema | None) -> Answer[Any]:
        expected = expectation(schema)
        if expected.json_schema is not None:
            query = msgspec.structs.replace(query, output_schema=expected.json_schema)
        backend = await self._opened()
        return expected.fulfil(await backend.infer(query))

    async def _events(self, query: Query) -> AsyncGenerator[StreamEvent]:
        backend = await self._opened()
        async with aclosing(backend.stream(query)) as events:
            async for event in events:
                yield event

    async def _opened(self) -> Backend:
        async with self._opening:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._backend is None:
                self._backend = await self._open()
            return self._backend

    async def _open(self) -> Backend:
        if self._url is not None:
            return await open_daemon(self._url, self._credentials, self._tls)
        if isinstance(self._config, Config):
            return await LocalPool.open(self._config)
        if self._providers:
            return await LocalPool.open(await asyncio.to_thread(config_of, self._providers, self._settings))
        config, note = await asyncio.to_thread(config_from, self._config)
        if note:
            _log.info("%s", note)
        return await LocalPool.open(config)

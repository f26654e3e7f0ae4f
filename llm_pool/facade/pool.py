"""The pool without ``await``: ``AsyncPool`` on an event loop in a thread of its own."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from llm_pool.core.loop_thread import LoopThread
from llm_pool.facade.async_pool import AsyncPool
from llm_pool.facade.streams import TextStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike
    from types import TracebackType
    from typing import Unpack

    from llm_pool.client import Credentials, Health, Tls
    from llm_pool.config import Config
    from llm_pool.facade.answer import Answer
    from llm_pool.facade.providers import ProviderInCode
    from llm_pool.facade.questions import Message, Options, Question
    from llm_pool.facade.schemas import JsonSchema

T = TypeVar("T")


class Pool:
    """
    Several language models that answer as one. Close it, or use it as a context manager.

    Threads may share one; in a notebook, where an event loop runs already, it works as anywhere else. Ctrl-C stops
    the models. One that nobody closed is closed when the program ends.

    Arguments are those of ``AsyncPool``; the configuration is read here already.

    Raises:
        ConfigError: the configuration cannot be used.
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
        self._pool = AsyncPool(
            config=config, providers=providers, settings=settings, url=url, credentials=credentials, tls=tls
        )
        self._thread = LoopThread("the pool")
        try:
            self._thread.wait(self._pool.__aenter__())
        except BaseException:
            self._thread.stop()
            raise
        atexit.register(self.close)

    @overload
    def infer(self, question: Question, *, schema: type[T], **options: Unpack[Options]) -> Answer[T]: ...

    @overload
    def infer(
        self, question: Question, *, schema: JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]: ...

    def infer(
        self, question: Question, *, schema: type[Any] | JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]:
        """The answer to *question*, as ``AsyncPool.infer``."""
        return self._thread.wait(self._pool.infer(question, schema=schema, **options))

    @overload
    def chat(self, messages: Sequence[Message], *, schema: type[T], **options: Unpack[Options]) -> Answer[T]: ...

    @overload
    def chat(
        self, messages: Sequence[Message], *, schema: JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]: ...

    def chat(
        self, messages: Sequence[Message], *, schema: type[Any] | JsonSchema | None = None, **options: Unpack[Options]
    ) -> Answer[Any]:
        """The answer to the last of *messages*, as ``AsyncPool.chat``."""
        return self._thread.wait(self._pool.chat(messages, schema=schema, **options))

    def stream(self, question: Question | Sequence[Message], **options: Unpack[Options]) -> TextStream:
        """The text of the answer as it is written: ``for piece in pool.stream("...")``."""
        return TextStream(self._pool.stream(question, **options), self._thread)

    def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was, as ``AsyncPool.feedback``."""
        return self._thread.wait(self._pool.feedback(request_id, good=good))

    def health(self) -> Health:
        """How the models are, as ``AsyncPool.health``."""
        return self._thread.wait(self._pool.health())

    def close(self) -> None:
        """Close connections and engines; what was learned is kept. Idempotent."""
        atexit.unregister(self.close)
        if not self._thread.is_stopped:
            self._thread.wait(self._pool.aclose())
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

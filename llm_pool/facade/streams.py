"""The text of an answer, piece by piece, and then the answer."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self

from llm_pool.core import messages
from llm_pool.facade.answer import with_value
from llm_pool.facade.answer_text import AnswerText

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from llm_pool.core.loop_thread import LoopThread
    from llm_pool.facade.answer import Answer
    from llm_pool.wire.json import StreamEvent


class AsyncTextStream:
    """
    Yields the pieces of an answer's text; together they are its content.

    Only what is the answer's own is yielded. With FASTEST and free text it comes as the model writes; where a panel
    has to decide first it comes in one piece. Leaving it (``aclose``, or the end of ``async with``) stops the models.

    Args:
        events: of a backend, last the answer.
    """

    def __init__(self, events: AsyncGenerator[StreamEvent]) -> None:
        self._events = events
        self._answer: Answer[Any] | None = None
        self.pieces = self._read()

    @property
    def answer(self) -> Answer[Any]:
        """The answer; raises RuntimeError before the last piece was read."""
        if self._answer is None:
            raise RuntimeError("the answer is there after the last piece")
        return self._answer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self.pieces)

    async def aclose(self) -> None:
        """Stop the models, where they still write. Idempotent."""
        await self.pieces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self) -> AsyncGenerator[str]:
        text = AnswerText()
        async with aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, messages.Answer):
                    rest = text.rest_of(event)
                    self._answer = with_value(event, event.json)
                    if rest:
                        yield rest
                elif piece := text.piece(event):
                    yield piece


class TextStream:
    """``AsyncTextStream`` without ``await``: for ``for`` and ``with``."""

    def __init__(self, stream: AsyncTextStream, thread: LoopThread) -> None:
        self._stream, self._pieces = stream, thread.iterate(stream.pieces)

    @property
    def answer(self) -> Answer[Any]:
        """The answer; raises RuntimeError before the last piece was read."""
        return self._stream.answer

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Stop the models, where they still write. Idempotent."""
        self._pieces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The client with ``await``: one query, again where that helps, within its deadline and a budget."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Self

import msgspec

from llm_pool.budget import Budget
from llm_pool.client.credentials import Tls
from llm_pool.errors import DeadlineExceeded, InvalidRequest, LlmPoolError, Overloaded, RateLimited, Unreachable
from llm_pool.messages import Answer, Query

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from llm_pool.client.credentials import Credentials
    from llm_pool.client.request import Asking, Health
    from llm_pool.wire import Happening

FIRST_PAUSE = 0.1
"""Seconds before the first retry at most; each further one waits up to twice as long."""
LONGEST_PAUSE = 5.0
BUDGET = Budget(ratio=0.1, floor=0.5)
"""What all clients of a process may spend on retries."""


class AsyncClient:
    """
    A daemon's client; close it, or use it as a context manager.

    What a server did not take (overloaded, stopping, over a rate, out of reach) is sent again, up to *retries* times
    and within the budget. Every query has a ``request_id``, so one that was taken after all is not asked twice.

    Args:
        url: ``http://``, ``https://``, ``grpc://`` or ``grpcs://`` and ``host:port``.
        credentials: who we are; None where the server does not ask.
        tls: files for a server of one's own.
        retries: further attempts at most.
        budget: what retries are paid from; by default shared by all clients of the process.

    Raises:
        InvalidRequest: the address has another shape.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        tls: Tls | None = None,
        retries: int = 2,
        budget: Budget = BUDGET,
    ) -> None:
        self._asking = _asking(url, credentials, tls or Tls())
        self._retries, self._budget, self._rng = retries, budget, SystemRandom()

    async def infer(self, query: Query | str, **fields: Any) -> Answer:
        """
        The answer to *query*.

        Args:
            query: whole, or a prompt.
            fields: of the Query, where *query* is a prompt: ``task``, ``strategy``, ``deadline`` in seconds.

        Raises:
            LlmPoolError: what the server raised; Unreachable where it did not answer at all.
        """
        trying = self._trying(_query(query, fields))
        while True:
            try:
                return await self._asking.infer(trying.query, trying.left())
            except LlmPoolError as error:
                await trying.pause(error)

    async def stream(self, query: Query | str, **fields: Any) -> AsyncGenerator[Happening]:
        """
        What happens while *query* is answered, last the Answer; arguments and errors as for ``infer``.

        Nothing is sent again once something was heard.
        """
        trying = self._trying(_query(query, fields))
        while True:
            has_begun = False
            try:
                async with aclosing(self._asking.stream(trying.query, trying.left())) as events:
                    async for event in events:
                        has_begun = True
                        yield event
            except LlmPoolError as error:
                if has_begun:
                    raise
                await trying.pause(error)
            else:
                return

    async def health(self) -> Health:
        """How the server's backends are; raises Unreachable."""
        return await self._asking.health()

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was; whether something was learned of it."""
        return await self._asking.feedback(request_id, good=good)

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._asking.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _trying(self, query: Query) -> _Trying:
        self._budget.note_request(asyncio.get_running_loop().time())
        return _Trying(query, self._retries, self._budget, self._rng)


class _Trying:
    """One query's attempts."""

    def __init__(self, query: Query, retries: int, budget: Budget, rng: SystemRandom) -> None:
        self.query, self._left_over, self._budget, self._rng = query, retries, budget, rng
        self._pause = FIRST_PAUSE
        self._until = None if query.deadline is None else asyncio.get_running_loop().time() + query.deadline

    def left(self) -> float | None:
        """Seconds until the query's deadline; raises DeadlineExceeded."""
        if self._until is None or self.query.deadline is None:
            return None
        left = self._until - asyncio.get_running_loop().time()
        if left <= 0:
            raise DeadlineExceeded(self.query.deadline)
        return left

    async def pause(self, error: LlmPoolError) -> None:
        """Wait until another attempt makes sense; raise *error* where none does."""
        if not isinstance(error, Overloaded | RateLimited | Unreachable) or not self._left_over:
            raise error
        wait = max(getattr(error, "retry_after", None) or 0.0, self._rng.uniform(0, self._pause))
        left = self.left()
        if wait > LONGEST_PAUSE or (left is not None and wait >= left):
            raise error
        if not self._budget.spend(asyncio.get_running_loop().time()):
            raise error
        self._left_over, self._pause = self._left_over - 1, self._pause * 2
        await asyncio.sleep(wait)


def _asking(url: str, credentials: Credentials | None, tls: Tls) -> Asking:
    scheme, _, rest = url.partition("://")
    if not rest or "@" in rest or scheme not in {"http", "https", "grpc", "grpcs"}:
        raise InvalidRequest("url", f"expected http(s)://host:port or grpc(s)://host:port, got '{url}'")
    if scheme.startswith("http"):
        from llm_pool.client.over_http import OverHttp

        return OverHttp(url, credentials, tls)
    from llm_pool.client.over_grpc import OverGrpc

    return OverGrpc(url, credentials, tls)


def _query(query: Query | str, fields: dict[str, Any]) -> Query:
    whole = Query(prompt=query, **fields) if isinstance(query, str) else msgspec.structs.replace(query, **fields)
    return whole if whole.request_id else msgspec.structs.replace(whole, request_id=uuid.uuid4().hex)

"""The client with ``await``: one query, again where that helps, within its deadline and a budget."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing
from random import SystemRandom
from typing import TYPE_CHECKING, Any, Self

import msgspec

from llm_pool.client.credentials import Tls
from llm_pool.client.retry import Retry
from llm_pool.core.errors import DeadlineExceeded, InvalidRequest, LlmPoolError
from llm_pool.core.messages import Answer, Query
from llm_pool.qos.budget import Budget

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

    from llm_pool.client.credentials import Credentials
    from llm_pool.client.transport import Health, Transport
    from llm_pool.wire.json import StreamEvent

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
        self._transport = _transport(url, credentials, tls or Tls())
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
        attempts = self._attempts(_query(query, fields))
        while True:
            try:
                return await self._transport.infer(attempts.query, attempts.remaining())
            except LlmPoolError as error:
                await attempts.back_off(error)

    async def stream(self, query: Query | str, **fields: Any) -> AsyncGenerator[StreamEvent]:
        """
        What happens while *query* is answered, last the Answer; arguments and errors as for ``infer``.

        Nothing is sent again once something was heard.
        """
        attempts = self._attempts(_query(query, fields))
        while True:
            has_begun = False
            try:
                async with aclosing(self._transport.stream(attempts.query, attempts.remaining())) as events:
                    async for event in events:
                        has_begun = True
                        yield event
            except LlmPoolError as error:
                if has_begun:
                    raise
                await attempts.back_off(error)
            else:
                return

    async def health(self) -> Health:
        """How the server's backends are; raises Unreachable."""
        return await self._transport.health()

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Say how good an answer was; whether something was learned of it."""
        return await self._transport.feedback(request_id, good=good)

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _attempts(self, query: Query) -> _Attempts:
        self._budget.note_request(asyncio.get_running_loop().time())
        return _Attempts(query, self._retries, self._budget, self._rng)


class _Attempts:
    """One query's attempts, on the loop's clock."""

    def __init__(self, query: Query, retries: int, budget: Budget, rng: SystemRandom) -> None:
        self.query, self._rng = query, rng
        self._deadline = None if query.deadline is None else asyncio.get_running_loop().time() + query.deadline
        self._retry = Retry(retries, budget, self._deadline)

    def remaining(self) -> float | None:
        """Seconds until the query's deadline; raises DeadlineExceeded."""
        if self._deadline is None or self.query.deadline is None:
            return None
        remaining = self._deadline - asyncio.get_running_loop().time()
        if remaining <= 0:
            raise DeadlineExceeded(self.query.deadline)
        return remaining

    async def back_off(self, error: LlmPoolError) -> None:
        """Wait until another attempt makes sense; raise *error* where none does."""
        wait = self._retry.wait(error, now=asyncio.get_running_loop().time(), draw=self._rng.random())
        if wait is None:
            raise error
        await asyncio.sleep(wait)


def _transport(url: str, credentials: Credentials | None, tls: Tls) -> Transport:
    scheme, _, rest = url.partition("://")
    if not rest or "@" in rest or scheme not in {"http", "https", "grpc", "grpcs"}:
        raise InvalidRequest("url", f"expected http(s)://host:port or grpc(s)://host:port, got '{url}'")
    if scheme.startswith("http"):
        from llm_pool.client.http_transport import HttpTransport

        return HttpTransport(url, credentials, tls)
    from llm_pool.client.grpc_transport import GrpcTransport

    return GrpcTransport(url, credentials, tls)


def _query(query: Query | str, fields: dict[str, Any]) -> Query:
    whole = Query(prompt=query, **fields) if isinstance(query, str) else msgspec.structs.replace(query, **fields)
    return whole if whole.request_id else msgspec.structs.replace(whole, request_id=uuid.uuid4().hex)

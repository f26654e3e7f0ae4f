"""A query in the context of its HTTP request: its ids, its deadline, its sender, and the words of its API."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from llm_pool.core.errors import InvalidRequest
from llm_pool.server.exchange import ARRIVED, REQUEST_ID
from llm_pool.server.middleware import PRINCIPAL
from llm_pool.server.queries import deadline_header, with_cache_control, with_deadline
from llm_pool.server.request_headers import IDEMPOTENCY_KEY, identified, only
from llm_pool.telemetry.logs import name_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from llm_pool.core.messages import Query
    from llm_pool.server.middleware import AccessControl, Scope
    from llm_pool.server.request_headers import Headers

MIN_SPENT = 0.01
"""Seconds in the door that are taken off a deadline; less is not, so that errors name the one that was asked for."""


class authorized:  # noqa: N801  # it is used as the function it was would be
    """
    *query*, under the ids, by the deadline and the cache control of its headers, as its sender may ask it while the
    block runs.

    Errors of the block name fields as the client wrote them: *fields* has the client's name of a query's field where
    it differs.
    """

    __slots__ = ("_access", "_fields", "_permission", "_query", "_scope")

    def __init__(
        self, access: AccessControl, scope: Scope, query: Query, fields: Mapping[str, str] | None = None
    ) -> None:
        self._access, self._scope, self._query, self._fields = access, scope, query, fields or {}

    async def __aenter__(self) -> Query:
        """The query; raises InvalidRequest, and what ``AccessControl.authorize`` raises."""
        scope, headers = self._scope, self._scope["headers"]
        try:
            left = deadline_header(only(headers, b"x-deadline-ms"))
            if left is not None and (spent := asyncio.get_running_loop().time() - scope[ARRIVED]) > MIN_SPENT:
                left -= spent
            asked = with_cache_control(with_deadline(self._query, left), headers)
            named = identified(asked, headers, scope[REQUEST_ID])
            scope[REQUEST_ID] = named.correlation_id
            name_request(named.correlation_id)
            self._permission = self._access.authorize(scope[PRINCIPAL], named)
            return await self._permission.__aenter__()
        except InvalidRequest as error:
            raise self._in_client_words(error) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what the query took."""
        await self._permission.__aexit__(kind, error, trace)
        if isinstance(error, InvalidRequest):
            raise self._in_client_words(error) from None

    def _in_client_words(self, error: InvalidRequest) -> InvalidRequest:
        return in_client_words(error, {**self._fields, **header_fields(self._scope["headers"])})


@contextmanager
def client_fields(headers: Headers) -> Iterator[None]:
    """An InvalidRequest of the block names the header where a field came in one."""
    try:
        yield
    except InvalidRequest as error:
        raise in_client_words(error, header_fields(headers)) from None


def in_client_words(error: InvalidRequest, names: Mapping[str, str]) -> InvalidRequest:
    """*error* by the client's own field; *names* has it by the query's."""
    field, inner = _split(error.field)
    if field not in names:
        return error
    reason = f"{inner}: {error.reason}" if inner else error.reason
    return type(error)(names[field], reason, hint=error.hint)


def _split(field: str) -> tuple[str, str]:
    """``prompt.candidates[0].id`` as the query's field and the place within it."""
    head = re.split(r"[.\[]", field, maxsplit=1)[0]
    return head, field[len(head) :].lstrip(".")


def header_fields(headers: Headers) -> dict[str, str]:
    """The fields that came in headers."""
    names = {name for name, _ in headers}
    said = {"request_id": (IDEMPOTENCY_KEY, "Idempotency-Key"), "deadline_ms": (b"x-deadline-ms", "X-Deadline-Ms")}
    return {field: shown for field, (name, shown) in said.items() if name in names}

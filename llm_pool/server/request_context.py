"""A query in the context of its HTTP request: its ids, its deadline, its sender, and the words of its API."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from llm_pool.core.errors import InvalidRequest
from llm_pool.server.middleware import ARRIVED, PRINCIPAL, REQUEST_ID
from llm_pool.server.queries import deadline_header, with_cache_control, with_deadline
from llm_pool.server.request_headers import IDEMPOTENCY_KEY, identified, only
from llm_pool.telemetry.logs import name_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from llm_pool.core.messages import Query
    from llm_pool.server.middleware import AccessControl, Scope
    from llm_pool.server.request_headers import Headers


@asynccontextmanager
async def authorized(
    access: AccessControl, scope: Scope, query: Query, fields: Mapping[str, str] | None = None
) -> AsyncIterator[Query]:
    """
    *query*, under the ids, by the deadline and the cache control of its headers, as its sender may ask it while the
    block runs.

    Errors of the block name fields as the client wrote them: *fields* has the client's name of a query's field where
    it differs.
    """
    headers: Headers = scope["headers"]
    left = deadline_header(only(headers, b"x-deadline-ms"))
    if left is not None:
        left -= asyncio.get_running_loop().time() - scope[ARRIVED]
    with client_fields({**(fields or {}), **header_fields(headers)}):
        asked = with_cache_control(with_deadline(query, left), headers)
        named = identified(asked, headers, scope[REQUEST_ID])
        scope[REQUEST_ID] = named.correlation_id
        name_request(scope[REQUEST_ID])
        async with access.authorize(scope[PRINCIPAL], named) as admitted_query:
            yield admitted_query


@contextmanager
def client_fields(names: Mapping[str, str]) -> Iterator[None]:
    """An InvalidRequest of the block names the client's own field; *names* has it by the query's."""
    try:
        yield
    except InvalidRequest as error:
        field, inner = _split(error.field)
        if field not in names:
            raise
        reason = f"{inner}: {error.reason}" if inner else error.reason
        raise type(error)(names[field], reason, hint=error.hint) from None


def _split(field: str) -> tuple[str, str]:
    """``prompt.candidates[0].id`` as the query's field and the place within it."""
    head = re.split(r"[.\[]", field, maxsplit=1)[0]
    return head, field[len(head) :].lstrip(".")


def header_fields(headers: Headers) -> dict[str, str]:
    """The fields that came in headers."""
    names = {name for name, _ in headers}
    said = {"request_id": (IDEMPOTENCY_KEY, "Idempotency-Key"), "deadline_ms": (b"x-deadline-ms", "X-Deadline-Ms")}
    return {field: shown for field, (name, shown) in said.items() if name in names}

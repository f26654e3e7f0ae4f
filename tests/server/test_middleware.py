"""The middleware before every HTTP route: whatever the application does, the client hears what HTTP has for it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import PermissionDenied, RateLimited, Unauthenticated
from llm_pool.server.daemon import Components
from llm_pool.server.middleware import AllowAll, Anonymous

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

ASKED = {"prompt": "hi"}


class Strict(AllowAll):
    """Lets in whom the test wants, and says when it has tidied up."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal, self.asked, self.tidied = refusal, list[tuple[Any, ...]](), asyncio.Event()

    async def authenticate(self, *request: object) -> Anonymous:
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        return Anonymous("acme")

    @asynccontextmanager
    async def authorize(self, _principal: Any, query: Any) -> AsyncIterator[Any]:
        yield query
        await asyncio.sleep(0.05)
        self.tidied.set()


async def test_the_door_sees_the_bytes_as_they_came(daemons: Any, ask: Any) -> None:
    """Signatures are over these."""
    access = Strict()
    async with daemons(components=Components(access=access)) as running:
        await ask(running.url, "POST", "/v1/infer?a=%20b", b'{"prompt" : "hi"}', X_Api_Key="k")

    headers, method, path, query, body = access.asked[0]
    assert (method, path, query, body) == ("POST", b"/v1/infer", b"a=%20b", b'{"prompt" : "hi"}')
    assert (b"x-api-key", b"k") in headers


@pytest.mark.parametrize(
    ("refusal", "status", "header"),
    [
        (Unauthenticated("nobody we know"), 401, "www-authenticate"),
        (PermissionDenied("not yours"), 403, None),
        (RateLimited(1.5), 429, "retry-after"),
    ],
)
async def test_the_door_is_before_every_route_but_the_open_ones(
    daemons: Any, ask: Any, refusal: Exception, status: int, header: str | None
) -> None:
    """Those that are not there among them: a stranger learns nothing of what is."""
    async with daemons(components=Components(access=Strict(refusal))) as running:
        replies = [await ask(running.url, "GET", path) for path in ("/health", "/v1/tasks", "/openapi.json", "/none")]
        opened = [await ask(running.url, "GET", path) for path in ("/livez", "/readyz")]

    assert [reply.status for reply in replies] == [status] * 4
    assert header is None or all(header in reply.headers for reply in replies)
    assert [reply.status for reply in opened] == [200, 200]


async def test_what_is_tidied_up_after_the_answer_is_not_cancelled(daemons: Any, ask: Any) -> None:
    """The server tells of the end of an answer as it tells of a client that left."""
    access = Strict()
    async with daemons(components=Components(access=access)) as running:
        assert (await ask(running.url, "POST", "/v1/infer", ASKED)).status == 200

        async with asyncio.timeout(2):
            await access.tidied.wait()


async def test_the_deadline_holds_in_the_door(daemons: Any, ask: Any) -> None:
    """An issuer of tokens that hangs costs the time that its asker gave, on every route, and what is left is less."""

    class Slow(Strict):
        wait = 30.0

        async def authenticate(self, *request: object) -> Anonymous:
            await asyncio.sleep(self.wait)
            return await super().authenticate(*request)

    access, clock = Slow(), asyncio.get_running_loop()
    async with daemons(components=Components(access=access)) as running:
        for method, path, body in (("POST", "/v1/infer", ASKED), ("GET", "/health", None)):
            began = clock.time()
            reply = await ask(running.url, method, path, body, X_Deadline_Ms="200")
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert clock.time() - began < 1.0

        access.wait = 0.3
        late = await ask(running.url, "POST", "/v1/infer", ASKED, X_Deadline_Ms="301")
        good = await ask(running.url, "POST", "/v1/infer", ASKED, X_Deadline_Ms="5000")

    assert late.status in {503, 504}
    assert good.status == 200

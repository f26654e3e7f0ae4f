"""Clients over real sockets: who comes in, what they get, and what they never see of each other."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from functools import reduce
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.errors import ConfigError
from llm_pool.security.hmac import sign
from llm_pool.security.keys import KeyFile, Kind
from llm_pool.server.access_control import BAD_CREDENTIALS, OPEN, REQUIRED_SCOPES, declared_scope
from llm_pool.server.components import build_components
from llm_pool.server.http import create_app
from llm_pool.server.sockets import check_addresses

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from llm_pool.config import Config
    from llm_pool.server.daemon import Components

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

ASKED = {"task": "expand_queries", "prompt": "cats"}
ACME, OTHER, ADMIN = "acme-secret-of-the-tests", "other-secret-of-the-tests", "admin-secret-of-the-tests"
TWO = f"""
[security]
keys_file = "keys.json"
[tenancy.acme]
api_key = "{ACME}"
[tenancy.other]
api_key = "{OTHER}"
[tenancy.admin]
api_key = "{ADMIN}"
scopes = ["infer", "observe", "operate"]
"""


def signed(key: str = "acme", secret: str = ACME, body: Any = ASKED, **changed: Any) -> dict[str, Any]:
    """Keywords for ``ask``: the headers of a signed request for ``POST /v1/infer`` unless *changed*."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    asked = {"method": "POST", "path": "/v1/infer", "wall": time.time(), **changed}
    headers = {"content-type": "application/json", **asked.pop("headers", {})}
    made = sign("llm-pool", key, secret, headers=headers, body=data, **asked)
    return {name.replace("-", "_"): value for name, value in {**headers, **made}.items()}


def bearer(secret: str = ACME) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def guarded(daemons: Any, config_for: Callable[..., Config]) -> Callable[..., Any]:
    """Starts a daemon with the parts that the command gives it, for the TOML of a test."""

    @contextlib.asynccontextmanager
    async def start(extra: str = TWO, **more: Any) -> AsyncIterator[Any]:
        components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", extra)), servers=())
        async with daemons(extra, components=components, **more) as running:
            yield running

    return start


async def test_a_signed_request_is_served_once(guarded: Any, ask: Any) -> None:
    """S1: the very same bytes again are somebody else's."""
    async with guarded() as daemon:
        headers = signed()

        first = await ask(daemon.url, "POST", "/v1/infer", ASKED, **headers)
        second = await ask(daemon.url, "POST", "/v1/infer", ASKED, **headers)

    assert first.status == 200
    assert second.status == 401
    assert second.json["error"]["message"] == BAD_CREDENTIALS
    assert "date" in second.headers


async def test_the_window_and_the_start_bound_a_timestamp(guarded: Any, ask: Any) -> None:
    """S1: not from before the daemon began, not from too far ahead."""
    async with guarded() as daemon:
        now = time.time()
        told = [
            (await ask(daemon.url, "POST", "/v1/infer", ASKED, **signed(wall=now + away))).status
            for away in (-310, -5, 0, 290, 310)
        ]

    assert told == [401, 401, 200, 200, 401]


async def test_a_bearer_key_may_come_as_anthropics_clients_send_it(guarded: Any, ask: Any) -> None:
    """``x-api-key`` alone signs nothing, so it is the key itself; beside another key it is one too many."""
    async with guarded() as daemon:
        alone, wrong, twice = [
            (await ask(daemon.url, "POST", "/v1/infer", ASKED, **headers)).status
            for headers in ({"x_api_key": ACME}, {"x_api_key": "acme"}, {"x_api_key": ACME, **bearer()})
        ]

    assert (alone, wrong, twice) == (200, 401, 401)


async def test_what_is_wrong_is_told_in_one_way(guarded: Any, ask: Any) -> None:
    """Whoever guesses learns nothing from the answers: one status, one body."""
    wrong = [
        signed(secret=OTHER),
        signed(key="nobody"),
        signed(wall=1_000_000_000),
        {**signed(), "x_signature": "0" * 64},
        {**signed(), "x_nonce": "short"},
        bearer("wrong"),
        bearer(ACME + "x"),
        {"Authorization": "Basic YWNtZTpzZWNyZXQ="},
        {**signed(), **bearer()},
        signed(path="/v1/tasks"),
        signed(body=b"{}"),
    ]
    async with guarded() as daemon:
        replies = [await ask(daemon.url, "POST", "/v1/infer", ASKED, **headers) for headers in wrong]
        nothing = await ask(daemon.url, "POST", "/v1/infer", ASKED)

    assert {reply.status for reply in (*replies, nothing)} == {401}
    assert len({reply.body for reply in replies}) == 1
    assert nothing.headers["www-authenticate"]


async def test_no_changed_byte_gets_through(guarded: Any, ask: Any) -> None:
    """S2, over the wire: body, query and covered headers of signed requests, changed on the way."""
    rng = random.Random(5)
    async with guarded() as daemon:
        statuses = set()
        for _ in range(40):
            headers = signed(headers={"x-deadline-ms": "1500", "idempotency-key": "one"})
            body = bytearray(msgspec.json.encode(ASKED))
            path = "/v1/infer"
            match rng.randrange(3):
                case 0:
                    body[rng.randrange(len(body))] ^= 1 << rng.randrange(7)
                case 1:
                    path += "?a=1"
                case _:
                    name = rng.choice(["x_deadline_ms", "idempotency_key", "x_nonce", "x_timestamp", "content_type"])
                    headers[name] = headers[name][:-1] + chr(ord(headers[name][-1]) ^ 1)
            statuses.add((await ask(daemon.url, "POST", path, bytes(body), **headers)).status)

    assert statuses == {401}


async def test_a_bearer_key_and_both_of_its_secrets_are_good(guarded: Any, ask: Any) -> None:
    """For clients of OpenAI's API, which send a key as it is."""
    extra = TWO.replace(f'api_key = "{OTHER}"', f'api_key = "{OTHER}"\nnext_api_key = "the-next-one"')
    async with guarded(extra) as daemon:
        statuses = [
            (await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(secret))).status
            for secret in (ACME, OTHER, "the-next-one")
        ]

    assert statuses == [200, 200, 200]


async def test_a_key_works_as_soon_as_it_is_made_and_no_longer_than_it_is_there(
    guarded: Any, ask: Any, tmp_path: Path
) -> None:
    """``llm-pool keys`` writes the file under a running daemon."""
    file = KeyFile(tmp_path / "keys.json")
    async with guarded() as daemon:
        signing, secret = await asyncio.to_thread(file.create, "acme", Kind.HMAC, wall=time.time())
        carried, token = await asyncio.to_thread(file.create, "acme", Kind.BEARER, wall=time.time())
        _, lost = await asyncio.to_thread(file.create, "gone", Kind.BEARER, wall=time.time())
        by_signature = await ask(daemon.url, "POST", "/v1/infer", ASKED, **signed(signing.id, secret))
        by_token = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(token))
        by_digest = await ask(daemon.url, "POST", "/v1/infer", ASKED, **signed(carried.id, carried.slots["a"].secret))
        without_tenant = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(lost))
        await asyncio.to_thread(file.retire, carried.id)
        await asyncio.sleep(1.1)
        retired = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(token))

    assert (by_signature.status, by_token.status) == (200, 200)
    assert by_digest.status == 401, "what lies in the file of a bearer key signs nothing"
    assert without_tenant.status == 403
    assert retired.status == 401


async def test_a_rotation_fails_no_call(guarded: Any, ask: Any, tmp_path: Path) -> None:
    """S4: 50 requests a second while a key gets its second secret, clients change over, and the first is retired."""
    file = KeyFile(tmp_path / "keys.json")
    key, secret = await asyncio.to_thread(file.create, "acme", Kind.HMAC, wall=time.time())
    async with guarded() as daemon:
        current, statuses, stop = [secret], list[int](), asyncio.Event()

        async def one() -> None:
            statuses.append((await ask(daemon.url, "POST", "/v1/infer", ASKED, **signed(key.id, current[0]))).status)

        async def client() -> None:
            async with asyncio.TaskGroup() as group:
                while not stop.is_set():
                    group.create_task(one())
                    await asyncio.sleep(0.02)

        running = asyncio.create_task(client())
        await asyncio.sleep(0.4)
        _, current[0] = await asyncio.to_thread(file.rotate, key.id)
        await asyncio.sleep(0.4)
        await asyncio.to_thread(file.retire, key.id, "a")
        await asyncio.sleep(0.4)
        stop.set()
        await running

    assert len(statuses) > 30
    assert set(statuses) == {200}


async def test_every_route_has_a_decision(guarded: Any, config_for: Callable[..., Config]) -> None:
    """S6: a new route is closed to clients, and fails here, until somebody decided what it needs."""
    components = build_components(config_for("http://127.0.0.1:9", TWO))
    async with guarded() as daemon:
        middleware: Any = create_app(daemon.manager, components.access, components.extensions)
        paths = {route.path for route in middleware._inner.routes.all} | {"/openapi.json"}

    parts = {"{number}": "7", "{name:path}": "a/b", "{digest}": "sha256:aa"}
    examples = {reduce(lambda path, part: path.replace(*part), parts.items(), path) for path in paths}
    undecided = {path for path in examples if path.encode() not in OPEN and declared_scope(path.encode()) is None}
    assert not undecided
    assert not any("{" in path for path in examples)


async def test_every_rpc_has_a_decision() -> None:
    """S6: the same for gRPC."""
    from llm_pool.server.grpc import HealthService, PoolService, Reflection

    nothing: Any = None
    paths = {
        *PoolService(nothing, nothing).handlers(),
        *HealthService(nothing).handlers(),
        *Reflection(nothing).handlers(),
    }

    assert "/llmpool.v1.LLMPool/Infer" in paths
    assert not {path for path in paths if path.encode() not in OPEN and declared_scope(path.encode()) is None}


async def test_without_credentials_only_the_open_routes_answer(guarded: Any, ask: Any) -> None:
    """S6: every decided path, whatever the Host says, and a path nobody ever heard of."""
    closed = [
        path.replace("**", "a/b").replace("*", "7") for path in REQUIRED_SCOPES if path.count("/") and "." not in path
    ]
    hosts = ["127.0.0.1", "x.example:80", "localhost"]
    async with guarded() as daemon:
        for path in [*closed, "/never/heard/of", "/livez/x", "/%6civez"]:
            for method in ("GET", "POST"):
                assert (await ask(daemon.url, method, path)).status in {400, 401}, (method, path)
        for host in ["/", "?", "#", "@", "\\", "..", "a/livez"]:
            reply = await ask(daemon.url, "GET", "/v1/tasks", Host=f"{hosts[0]}{host}")
            assert reply.status in {400, 401}
        assert [(await ask(daemon.url, "GET", path)).status for path in ("/livez", "/readyz")] == [200, 200]


async def test_a_client_gets_no_further_than_its_scopes(guarded: Any, ask: Any) -> None:
    """Metrics and configuration are for operators; a path without a decision too, before anybody looks for it."""
    async with guarded() as daemon:
        paths = ("/v1/tasks", "/v1/config", "/metrics", "/never/heard/of")
        as_client = [(await ask(daemon.url, "GET", path, **bearer())).status for path in paths]
        as_admin = [(await ask(daemon.url, "GET", path, **bearer(ADMIN))).status for path in paths]

    assert as_client == [200, 403, 403, 403]
    assert as_admin == [200, 200, 200, 404]


async def test_tenants_share_no_answer(guarded: Any, ask: Any) -> None:
    """S15: the same question, the same request id: each tenant has its own run, and its own answer again."""
    async with guarded() as daemon:
        body = {**ASKED, "request_id": "r1"}
        first = await ask(daemon.url, "POST", "/v1/infer", body, **bearer(ACME))
        asked = daemon.upstream.counts.requests
        other = await ask(daemon.url, "POST", "/v1/infer", {**body, "prompt": "dogs"}, **bearer(OTHER))
        same_question = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(OTHER))
        again = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(ACME))

    assert [r.status for r in (first, other, same_question, again)] == [200, 200, 200, 200]
    assert not other.json["from_cache"], "the id r1 of acme is nothing to other"
    assert not same_question.json["from_cache"]
    assert again.json["from_cache"]
    assert daemon.upstream.counts.requests - asked >= 2


async def test_tenants_see_no_history_of_each_other(guarded: Any, ask: Any) -> None:
    """S15: the page shows a tenant its own requests; feedback on another's answer finds none."""
    async with guarded() as daemon:
        body = {"prompt": "cats", "task": "expand_queries", "strategy": "VOTING", "request_id": "secret-id"}
        await ask(daemon.url, "POST", "/v1/infer", body, **bearer(ACME))
        mine, others, all_of_it = [
            await ask(daemon.url, "GET", "/v1/status", **bearer(secret)) for secret in (ACME, OTHER, ADMIN)
        ]
        feedback = await ask(
            daemon.url, "POST", "/v1/feedback", {"request_id": "secret-id", "good": True}, **bearer(OTHER)
        )

    assert [reply.body.count(b"secret-id") > 0 for reply in (mine, others, all_of_it)] == [True, False, True]
    assert feedback.status == 400


async def test_a_query_cannot_name_another_tenant(guarded: Any, ask: Any) -> None:
    """Neither in its body nor in a header; its own name is as good as none."""
    async with guarded() as daemon:
        own = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "tenant_id": "acme"}, **bearer())
        body = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "tenant_id": "other"}, **bearer())
        header = await ask(daemon.url, "POST", "/v1/infer", ASKED, X_Tenant="other", **bearer())

    assert [own.status, body.status, header.status] == [200, 403, 403]


LIMITED = f"""
[tenancy.acme]
api_key = "{ACME}"
rate_limit_rps = 0.5
rate_limit_burst = 3
[tenancy.other]
api_key = "{OTHER}"
max_in_flight = 1
max_tokens = 70
max_deadline_ms = 900
max_providers = 1
tasks = ["expand_queries", "judge"]
strategies = ["FASTEST", "VOTING"]
[tenancy.admin]
api_key = "{ADMIN}"
tokens_per_day = 10
"""


async def test_who_asks_too_often_is_told_when_to_come_again(guarded: Any, ask: Any) -> None:
    """429 with Retry-After, and nobody else is held up by it."""
    async with guarded(LIMITED) as daemon:
        replies = [await ask(daemon.url, "GET", "/v1/tasks", **bearer()) for _ in range(4)]
        other = await ask(daemon.url, "GET", "/v1/tasks", **bearer(OTHER))

    assert [reply.status for reply in replies] == [200, 200, 200, 429]
    assert replies[3].headers["retry-after"] in {"1", "2"}
    assert replies[3].json["error"]["code"] == "rate_limited"
    assert other.status == 200


async def test_a_tenant_gets_no_more_than_its_caps(guarded: Any, ask: Any) -> None:
    """Tasks and strategies are refused by name; lengths, deadlines and panels are cut to size."""
    async with guarded(LIMITED) as daemon:
        asked = {**ASKED, "strategy": "VOTING", "max_tokens": 500, "deadline_ms": 4000}
        cut = await ask(daemon.url, "POST", "/v1/infer", asked, **bearer(OTHER))
        task = await ask(daemon.url, "POST", "/v1/infer", {"task": "ask", "prompt": "x"}, **bearer(OTHER))
        strategy = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "strategy": "CONSENSUS"}, **bearer(OTHER))
        seen = daemon.upstream.journal.inferences()[-1].body

    assert cut.status == 200
    assert len(cut.json["decision"]["attempts"]) == 1
    assert seen["options"]["num_predict"] == 70
    assert (task.status, strategy.status) == (403, 403)
    assert "expand_queries" in task.json["error"]["message"]
    assert "FASTEST" in strategy.json["error"]["message"]


async def test_a_tenant_has_so_many_requests_in_flight(guarded: Any, ask: Any) -> None:
    """The next one is refused at once; when one has ended there is room again."""
    async with guarded(LIMITED, ttft="const:0.4") as daemon:
        slow = asyncio.create_task(ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(OTHER)))
        await asyncio.sleep(0.15)
        refused = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "prompt": "dogs"}, **bearer(OTHER))
        first = await slow
        after = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(OTHER))

    assert (first.status, refused.status, after.status) == (200, 429, 200)


async def test_a_tenant_has_so_many_tokens_a_day(guarded: Any, ask: Any) -> None:
    """What the models counted is booked when they are done; what is used up comes back over the day."""
    async with guarded(LIMITED) as daemon:
        first = await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(ADMIN))
        second = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "prompt": "dogs"}, **bearer(ADMIN))

    assert first.status == 200
    assert sum(first.json["usage"].values()) > 10
    assert second.status == 429
    assert int(second.headers["retry-after"]) > 60


async def test_clients_change_with_the_configuration(
    guarded: Any, ask: Any, config_for: Callable[..., Config], daemons: Any
) -> None:
    """A reload makes new tenants known and old ones strangers; nonces and rates stay."""
    components: Any = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9", TWO)), servers=())
    async with daemons(TWO, components=components) as daemon:
        headers = signed()
        assert (await ask(daemon.url, "POST", "/v1/infer", ASKED, **headers)).status == 200
        config = config_for(daemon.upstream.url, TWO.replace(OTHER, "a-new-secret"))

        (await components.access.prepare(config))()
        statuses = [
            (await ask(daemon.url, "GET", "/v1/tasks", **bearer(secret))).status
            for secret in (ACME, OTHER, "a-new-secret")
        ]

        assert statuses == [200, 401, 200]
        assert (await ask(daemon.url, "POST", "/v1/infer", ASKED, **headers)).status == 401


async def test_a_key_file_that_others_may_read_changes_nothing(guarded: Any, ask: Any, tmp_path: Path) -> None:
    """S20: what was known stays known, and what cannot be trusted is not taken up; at the start it is refused."""
    file = KeyFile(tmp_path / "keys.json")
    _, token = await asyncio.to_thread(file.create, "acme", Kind.BEARER, wall=time.time())
    async with guarded() as daemon:
        assert (await ask(daemon.url, "GET", "/v1/tasks", **bearer(token))).status == 200
        _, late = await asyncio.to_thread(file.create, "acme", Kind.BEARER, wall=time.time())
        file.path.chmod(0o644)
        statuses = [(await ask(daemon.url, "GET", "/v1/tasks", **bearer(secret))).status for secret in (late, token)]

    assert statuses == [401, 200]
    with pytest.raises(ConfigError, match="0600"):
        async with guarded():
            pass


@pytest.mark.parametrize("extra", ["", '[tenancy."*"]\nmax_tokens = 5\n'])
async def test_nobody_listens_for_strangers_without_asking_who_they_are(
    extra: str, config_for: Callable[..., Config]
) -> None:
    """S23: an address that others reach needs clients; the error says what to type."""
    open_to_all = '[server]\nhttp_addr = "0.0.0.0:0"\n' + extra
    config = config_for("http://127.0.0.1:9", open_to_all)

    if extra:
        check_addresses(config)
    else:
        with pytest.raises(ConfigError, match="everybody could come in") as caught:
            check_addresses(config)
        assert "llm-pool keys create" in caught.value.hint


async def test_no_secret_is_in_what_anybody_sees(
    guarded: Any, ask: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """S13: seeded secrets in logs, answers, metrics and the configuration that is shown."""
    file = KeyFile(tmp_path / "keys.json")
    _, token = await asyncio.to_thread(file.create, "acme", Kind.BEARER, wall=time.time())
    key, secret = await asyncio.to_thread(file.create, "acme", Kind.HMAC, wall=time.time())
    paths = ("/v1/config", "/metrics", "/v1/status", "/health", "/openapi.json")
    async with guarded() as daemon:
        seen = [await ask(daemon.url, "GET", path, **bearer(ADMIN)) for path in paths]
        seen.append(await ask(daemon.url, "POST", "/v1/infer", ASKED, **signed(key.id, secret)))
        seen.append(await ask(daemon.url, "POST", "/v1/infer", ASKED, **bearer(token + "x")))
        seen.append(await ask(daemon.url, "POST", "/v1/infer", b"{", **bearer(token)))

    said = b"\n".join(reply.body for reply in seen).decode() + caplog.text
    assert not [name for name in (ACME, OTHER, ADMIN, token, secret) if name in said]


async def test_without_clients_this_machine_may_do_everything(daemons: Any, ask: Any, config_for: Any) -> None:
    """On loopback; a key that a client sends all the same, as OpenAI's does, is not looked at."""
    components: Components = msgspec.structs.replace(build_components(config_for("http://127.0.0.1:9")), servers=())
    async with daemons(components=components) as daemon:
        statuses = [
            (await ask(daemon.url, "GET", path, **bearer("sk-none"))).status
            for path in ("/v1/tasks", "/metrics", "/v1/config")
        ]
        infer = await ask(daemon.url, "POST", "/v1/infer", {**ASKED, "tenant_id": "whoever"})

    assert statuses == [200, 200, 200]
    assert infer.status == 200

"""
Access control of a daemon with clients: authentication, scopes, rate limits and quotas.

::

    headers, path, body ─▶ key, signature or token ─▶ Principal ─▶ scope of the route ─▶ rate ─▶ in
    query ─▶ tenant, project, caps ─▶ tokens left ─▶ in flight ─▶ asked
    AttemptEnded ─▶ its tokens are booked to the tenant

HTTP and gRPC come through here alike: over gRPC the method is ``GRPC`` and the path ``/package.Service/Method``.
Whoever is refused hears one sentence, whatever was wrong; the reason leaves as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.values import Scope
from llm_pool.core.errors import ConfigError, LlmPoolError, PermissionDenied, RateLimited, Unauthenticated
from llm_pool.core.events import AccessDenied, AttemptEnded, KeyUsed
from llm_pool.core.files import read_bounded
from llm_pool.providers.transport import Backend, Transport
from llm_pool.qos.redis import BudgetedRedis
from llm_pool.security import ANONYMOUS, Principal
from llm_pool.security.authorization import authorized_query
from llm_pool.security.hmac import KEY, NONCE, SIGNATURE, TIMESTAMP, parse_signed, verify_signature
from llm_pool.security.jwt import FetchedKeys, Issuer, Jwks, claims_of, from_file
from llm_pool.security.keys import KeyFile
from llm_pool.security.nonces import MemoryNonces, RedisNonces
from llm_pool.security.origin_check import OriginCheck
from llm_pool.security.ratelimit import MemoryLimiter, Rate, RedisLimiter
from llm_pool.security.tenants import Tenants, requires_authentication
from llm_pool.server.middleware import OPEN as OPEN_PATHS
from llm_pool.server.paths import meant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from llm_pool.config import Config
    from llm_pool.config.models import JwtSettings
    from llm_pool.core.events import Event
    from llm_pool.core.interfaces import Clock, Emit
    from llm_pool.core.messages import Query
    from llm_pool.security.jwt import KeySource
    from llm_pool.security.keys import Key
    from llm_pool.security.nonces import Nonces
    from llm_pool.security.ratelimit import Limiter
    from llm_pool.server.middleware import Principal as AnyPrincipal

OPEN = OPEN_PATHS | {b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch", b"/grpc.health.v1.Health/List"}
"""What anybody may ask for: whether we live, and the files of the status page, which know nothing by themselves."""

REQUIRED_SCOPES: dict[str, Scope] = {
    "/v1/infer": Scope.INFER,
    "/v1/feedback": Scope.INFER,
    "/v1/tasks": Scope.INFER,
    "/v1/chat/completions": Scope.INFER,
    "/v1/completions": Scope.INFER,
    "/v1/embeddings": Scope.INFER,
    "/api/embed": Scope.INFER,
    "/api/embeddings": Scope.INFER,
    "/v1/messages": Scope.INFER,
    "/v1/messages/count_tokens": Scope.INFER,
    "/v1/responses": Scope.INFER,
    "/v1/models": Scope.INFER,
    "/v1/models/**": Scope.INFER,
    "/v1/status": Scope.INFER,  # of the tenant's own requests
    "/v1/requests/*": Scope.INFER,  # likewise
    "/v1/hour": Scope.OBSERVE,
    "/v1/config": Scope.OBSERVE,
    "/api/chat": Scope.INFER,
    "/api/generate": Scope.INFER,
    "/api/tags": Scope.INFER,
    "/api/ps": Scope.INFER,
    "/api/show": Scope.INFER,
    "/api/version": Scope.INFER,
    "/api/pull": Scope.INFER,
    "/api/delete": Scope.INFER,
    "/api/push": Scope.INFER,
    "/api/create": Scope.INFER,
    "/api/copy": Scope.INFER,
    "/api/blobs/*": Scope.INFER,
    "/health": Scope.INFER,
    "/metrics": Scope.OBSERVE,
    "/openapi.json": Scope.INFER,
    "/llmpool.v1.LLMPool/*": Scope.INFER,
    "/vvtv.llmpool.v1.LLMPool/*": Scope.INFER,
    "/grpc.reflection.v1.ServerReflection/*": Scope.INFER,
    "/grpc.reflection.v1alpha.ServerReflection/*": Scope.INFER,
}
"""
What each route needs; ``*`` stands for one segment, ``**`` at the end for any number of them.

A route that is not here is for operators, whoever adds it; a test walks the routes and RPCs and finds it missing.
"""

NOBODY = Principal(name="nobody", scopes=frozenset())
"""Who asks for what is open."""
BAD_CREDENTIALS = "these credentials are not valid"
NO_CREDENTIALS = "credentials are required"
POLL_INTERVAL = 1.0
"""Seconds between two looks at the key file."""
DAY = 86_400.0
IN_FLIGHT_RETRY_AFTER = 1.0
"""Seconds after which a tenant with too many requests in flight may try again."""

_SIGNED = {KEY, TIMESTAMP, NONCE, SIGNATURE}
_JWKS_LIMIT = 256 << 10
_log = logging.getLogger("llm_pool.security")


def required_scope(path: bytes) -> Scope:
    """The scope that the route needs which *path* means."""
    return _declared_scope(meant(path.decode("ascii", "replace"))) or Scope.OPERATE


def declared_scope(path: bytes) -> Scope | None:
    """What ``REQUIRED_SCOPES`` says of a path; None where nobody made a decision."""
    return _declared_scope(path.decode("ascii", "replace"))


def _declared_scope(path: str) -> Scope | None:
    if (scope := _EXACT.get(path)) is not None:
        return scope
    segments = path.split("/")
    return next((scope for pattern, scope in _PATTERNS if _matches(pattern, segments)), None)


_EXACT = {path: scope for path, scope in REQUIRED_SCOPES.items() if "*" not in path}
_PATTERNS = [(path.split("/"), scope) for path, scope in REQUIRED_SCOPES.items() if "*" in path]


def _matches(pattern: list[str], segments: list[str]) -> bool:
    if pattern[-1] == "**":
        return len(segments) >= len(pattern) and _matches(pattern[:-1], segments[: len(pattern) - 1])
    return len(pattern) == len(segments) and all(p in {"*", s} for p, s in zip(pattern, segments, strict=True))


class _ClientConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What one configuration says of clients; *authenticates*: they have to prove who they are."""

    config: Config
    keys: Mapping[str, Key]
    tenants: Tenants
    issuers: Mapping[str, Issuer]
    origins: OriginCheck
    authenticates: bool


def _client_config(config: Config, keys: Mapping[str, Key], issuers: Mapping[str, Issuer]) -> _ClientConfig:
    return _ClientConfig(
        config=config,
        keys=keys,
        tenants=Tenants(config.tenancy, keys),
        issuers=issuers,
        origins=OriginCheck(config),
        authenticates=requires_authentication(config),
    )


class _Stores(msgspec.Struct, frozen=True):
    """Where nonces and rates are kept, and what closes it."""

    source: object
    nonces: Nonces
    limiter: Limiter
    stack: AsyncExitStack


class TenantAccessControl:
    """
    Access control by tenant; also an observer, which charges the tokens that tenants used.

    ``prepare`` and the function it gives make a configuration count; ``aclose`` releases connections.

    Args:
        config: the first one. Its clients are known once ``opened`` or ``prepare`` read them.
        clock: the time.
        emit: told of refusals, and which keys are used.
    """

    def __init__(self, config: Config, clock: Clock, emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        self._transport = Transport()
        self._stores, self._retired = _stores_for(config, clock), AsyncExitStack()
        self._clients = _client_config(config, {}, {})
        self._stamp: object = None
        self._keys_checked_at = float("-inf")
        self._keys_lock = asyncio.Lock()
        self._in_flight = Counter[str]()
        self._charging = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[TenantAccessControl]:
        """Access control while the block runs; raises ConfigError where the clients cannot be read."""
        (await self.prepare(self._clients.config))()
        try:
            yield self
        finally:
            await self.aclose()

    async def prepare(self, config: Config) -> Callable[[], None]:
        """
        Read what *config* says of clients.

        Returns:
            What makes it count.

        Raises:
            ConfigError: the key file cannot be used.
        """
        stamp, keys = await asyncio.to_thread(_read_keys, config)
        issuers = self._issuers(config)
        clients = _client_config(config, keys, issuers)
        is_same = self._stores.source == _store_source(config)
        stores = self._stores if is_same else _stores_for(config, self._clock)

        def commit() -> None:
            if stores is not self._stores:
                self._retired.push_async_callback(self._stores.stack.aclose)  # requests that are here still use it
            for name, issuer in self._clients.issuers.items():
                if name not in issuers or issuers[name].keys is not issuer.keys:
                    self._retired.push_async_callback(issuer.keys.aclose)
            self._clients, self._stamp, self._stores = clients, stamp, stores

        return commit

    async def aclose(self) -> None:
        """Release connections, once what was used is booked. Idempotent."""
        await asyncio.gather(*self._charging, return_exceptions=True)
        await asyncio.gather(*(issuer.keys.aclose() for issuer in self._clients.issuers.values()))
        await self._retired.aclose()
        await self._stores.stack.aclose()
        await self._transport.aclose()

    async def authenticate(
        self, headers: Sequence[tuple[bytes, bytes]], method: str, raw_path: bytes, query_string: bytes, body: bytes
    ) -> Principal:
        """
        Who sent this, if they may.

        Args:
            headers: as received, names in lower case; over gRPC the metadata.
            method: ``GRPC`` over gRPC.
            raw_path: as received.
            query_string: as received.
            body: as received; over gRPC the serialised message.

        Raises:
            Unauthenticated: nobody we know sent it.
            PermissionDenied: the route is not theirs, it speaks for another tenant, or a foreign web page sent it.
            RateLimited: they sent enough for now.
            Overloaded: what is needed to know them cannot be reached.
        """
        if raw_path in OPEN:
            return NOBODY
        try:
            principal = await self._identify(headers, method, raw_path, query_string, body)
            _check_route(principal, headers, raw_path)
        except (Unauthenticated, PermissionDenied) as error:
            self._emit(AccessDenied(str(error)))
            if isinstance(error, PermissionDenied):
                raise
            sentence = NO_CREDENTIALS if str(error) == "none" else BAD_CREDENTIALS
            hint = "a signature, a token or a bearer key; look at the key, the secret and the clock: docs/security.md"
            raise Unauthenticated(sentence, hint=hint) from None
        await self._check_rate(principal)
        return principal

    def authorize(self, principal: AnyPrincipal, query: Query) -> AbstractAsyncContextManager[Query]:
        """
        *query* as *principal*, from ``authenticate``, may ask it, which counts as in flight while the block runs.

        Raises, once the block begins:
            PermissionDenied: it is for another tenant or project, or for a task or strategy not theirs.
            RateLimited: their tokens of the day are used up, or too many of their requests are in flight.
        """
        assert isinstance(principal, Principal)
        return nullcontext(query) if principal.is_anonymous else self._granted(principal, query)

    @asynccontextmanager
    async def _granted(self, principal: Principal, query: Query) -> AsyncIterator[Query]:
        try:
            query = authorized_query(principal, query, self._clients.config.strategy_for)
        except PermissionDenied:
            self._emit(AccessDenied("not allowed"))
            raise
        await self._check_tokens(principal)
        tenant, limit = principal.tenant_id, principal.grant.in_flight
        if limit is not None and self._in_flight[tenant] >= limit:
            self._emit(AccessDenied("in flight"))
            raise RateLimited(IN_FLIGHT_RETRY_AFTER)
        self._in_flight[tenant] += 1
        try:
            yield query
        finally:
            self._in_flight[tenant] -= 1
            if not self._in_flight[tenant]:
                del self._in_flight[tenant]

    def readable_by(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
        """The origin of the web page that sent *headers*, if it may read the answer."""
        return self._clients.origins.reading_origin(headers)

    def on(self, event: Event) -> None:
        """Book the tokens of an attempt to the tenant it was made for."""
        if not isinstance(event, AttemptEnded) or not event.tenant_id:
            return
        rate = _tokens(self._clients.tenants.grant(event.tenant_id).tokens_per_day)
        usage = event.attempt.usage
        used = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        if rate is not None and used:
            charging = asyncio.create_task(self._stores.limiter.charge(f"tokens:{event.tenant_id}", rate, float(used)))
            self._charging.add(charging)
            charging.add_done_callback(self._charging.discard)

    async def _identify(
        self, headers: Sequence[tuple[bytes, bytes]], method: str, path: bytes, query: bytes, body: bytes
    ) -> Principal:
        if not self._clients.authenticates:
            if method != "GRPC":  # browsers do not speak it
                self._clients.origins.check(headers)
            return ANONYMOUS
        await self._reload_keys(POLL_INTERVAL)
        if method == "GRPC":  # the library keeps its content type to itself
            headers = [*(h for h in headers if h[0] != b"content-type"), (b"content-type", b"application/grpc")]
        tokens = [value for name, value in headers if name == b"authorization"]
        given = [name for name, _ in headers if name in _SIGNED]
        is_signed = given not in ([], [KEY])
        if given == [KEY]:  # nothing is signed: Anthropic's clients send their bearer key so
            tokens += [b"Bearer " + value for name, value in headers if name == KEY]
        if len(tokens) > 1 or (tokens and is_signed):
            raise Unauthenticated("twice")
        if not tokens and not is_signed:
            raise Unauthenticated("none")
        try:
            return await self._verify(headers, method, path, query, body, tokens)
        except Unauthenticated:
            if not await self._reload_keys(0.0):
                raise
            return await self._verify(headers, method, path, query, body, tokens)

    async def _verify(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        method: str,
        path: bytes,
        query: bytes,
        body: bytes,
        tokens: Sequence[bytes],
    ) -> Principal:
        if tokens:
            return await self._by_token(tokens[0])
        clients, wall = self._clients, self._clock.wall()
        request, signature = parse_signed(method, path, query, headers, body)
        slot = verify_signature(
            clients.config.security.audience, clients.tenants.slots(request.key), request, signature, wall=wall
        )
        await self._stores.nonces.use(request.key, request.nonce, request.timestamp)
        self._emit(KeyUsed(request.key, slot))
        return clients.tenants.by_key(request.key)

    async def _by_token(self, header: bytes) -> Principal:
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token.isascii():
            raise Unauthenticated("shape")
        clients, wall, text = self._clients, self._clock.wall(), token.strip().decode("ascii")
        if clients.issuers and text.count(".") == 2:
            return clients.tenants.by_claims(await claims_of(text, clients.issuers, wall=wall))
        principal, slot = clients.tenants.by_bearer(text, wall=wall)
        self._emit(KeyUsed(principal.name, slot))
        return principal

    async def _reload_keys(self, every: float) -> bool:
        """Take up a changed key file, if the last look is *every* seconds ago; whether it had changed."""
        config = self._clients.config
        if config.security.keys_file is None or self._clock.now() - self._keys_checked_at < every:
            return False
        async with self._keys_lock:
            self._keys_checked_at = self._clock.now()
            try:
                stamp, keys = await asyncio.to_thread(_read_keys, config, self._stamp)
            except ConfigError as error:
                _log.warning("the keys stay as they are: %s", error)
                return False
            if stamp == self._stamp or self._clients.config is not config:
                return False
            tenants = Tenants(config.tenancy, keys)
            self._clients = msgspec.structs.replace(self._clients, keys=keys, tenants=tenants)
            self._stamp = stamp
            return True

    async def _check_rate(self, principal: Principal) -> None:
        grant = principal.grant
        if grant.rate is not None:
            sender = f"requests:{principal.tenant_id}"
            verdict = await self._stores.limiter.take(sender, Rate(grant.rate, grant.burst))
            if not verdict.allowed:
                self._emit(AccessDenied("rate"))
                raise RateLimited(verdict.retry_after)

    async def _check_tokens(self, principal: Principal) -> None:
        rate = _tokens(principal.grant.tokens_per_day)
        if rate is not None:
            verdict = await self._stores.limiter.take(f"tokens:{principal.tenant_id}", rate, 0.0)
            if not verdict.allowed:
                self._emit(AccessDenied("tokens"))
                raise RateLimited(verdict.retry_after)

    def _issuers(self, config: Config) -> dict[str, Issuer]:
        """The issuers of *config*; those that were there before keep their keys."""
        before = {jwt.issuer: jwt for jwt in self._clients.config.security.jwt}
        issuers = {}
        for jwt in config.security.jwt:
            known = self._clients.issuers.get(jwt.issuer) if before.get(jwt.issuer) == jwt else None
            keys = known.keys if known else Jwks(self._key_source(jwt, config), self._clock)
            issuers[jwt.issuer] = Issuer(jwt.audience, jwt.algorithms, keys)
        return issuers

    def _key_source(self, jwt: JwtSettings, config: Config) -> KeySource:
        if jwt.jwks_file is not None:
            return from_file(partial(read_bounded, config.path.parent / jwt.jwks_file))
        assert jwt.jwks_url is not None
        return _from_url(jwt.jwks_url, self._transport)


def _check_route(principal: Principal, headers: Sequence[tuple[bytes, bytes]], path: bytes) -> None:
    scope = required_scope(path)
    if scope not in principal.scopes:
        raise PermissionDenied(f"this needs the scope '{scope}'")
    if principal.is_anonymous:
        return
    spoken_for = next((value for name, value in headers if name == b"x-tenant"), b"").decode("latin-1")
    if spoken_for not in {"", principal.tenant_id}:
        raise PermissionDenied("X-Tenant: it is not yours")


def _tokens(per_day: int | None) -> Rate | None:
    return None if per_day is None else Rate(per_day / DAY, float(per_day))


def _read_keys(config: Config, known: object = None) -> tuple[object, Mapping[str, Key]]:
    """What tells one state of the key file from another, and its keys; those are left out where it is *known*."""
    name = config.security.keys_file
    if name is None:
        return None, {}
    path = config.path.parent / name
    try:
        found = path.stat()
        stamp: object = (found.st_mtime_ns, found.st_size, found.st_ino)
    except OSError:
        stamp = None
    return (stamp, {}) if known is not None and stamp == known else (stamp, KeyFile(path).load())


def _from_url(url: str, transport: Transport) -> KeySource:
    base, path = _split(url)

    async def source(etag: str) -> FetchedKeys:
        backend = Backend("the issuer", base, headers={"If-None-Match": etag} if etag else {})
        reply = await transport.request(backend, "GET", path, limit=_JWKS_LIMIT)
        if reply.status == 304 and etag:
            return FetchedKeys(None, etag)
        if reply.status != 200:
            raise LlmPoolError(f"the issuer's keys: HTTP {reply.status}")
        return FetchedKeys(reply.body, reply.headers.get("etag", ""))

    return source


def _split(url: str) -> tuple[str, str]:
    """Scheme and authority, and the rest."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority}", f"{slash or '/'}{path}"


def _store_source(config: Config) -> object:
    return config.security.redis_url


def _stores_for(config: Config, clock: Clock) -> _Stores:
    stack, url = AsyncExitStack(), config.security.redis_url
    if url is None:
        return _Stores(None, MemoryNonces(clock), MemoryLimiter(clock), stack)
    # Each its own: a rate that waits 50 ms in vain says nothing yet of a nonce, which may wait five times as long.
    nonces, rates = (BudgetedRedis(url.reveal(), clock, key="security.redis_url") for _ in range(2))
    stack.push_async_callback(nonces.aclose)
    stack.push_async_callback(rates.aclose)
    return _Stores(url, RedisNonces(nonces), RedisLimiter(rates, clock), stack)

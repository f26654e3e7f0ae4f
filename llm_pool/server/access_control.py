"""
The door of a daemon with clients: who comes in, to which routes, how often, and what they may ask for.

::

    headers, path, body ─▶ key, signature or token ─▶ Principal ─▶ scope of the route ─▶ rate ─▶ in
    query ─▶ tenant, project, caps ─▶ tokens left ─▶ in flight ─▶ asked
    AttemptEnded ─▶ its tokens are booked to the tenant

HTTP and gRPC come through here alike: over gRPC the method is ``GRPC`` and the path ``/package.Service/Method``.
Whoever is turned away hears one sentence, whatever was wrong; the reason leaves as an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from llm_pool.config.values import Scope
from llm_pool.errors import ConfigError, LlmPoolError, PermissionDenied, RateLimited, Unauthenticated
from llm_pool.messages import AttemptEnded, KeyUsed, TurnedAway
from llm_pool.providers.transport import Backend, Transport
from llm_pool.security import ANONYMOUS, Principal
from llm_pool.security.allowed import allowed
from llm_pool.security.browsers import check_browser
from llm_pool.security.hmac import KEY, NONCE, SIGNATURE, TIMESTAMP, signed, verified
from llm_pool.security.jwt import Fetched, Issuer, Jwks, claims_of, from_file
from llm_pool.security.keys import KeyFile
from llm_pool.security.nonces import MemoryNonces, RedisNonces
from llm_pool.security.ratelimit import MemoryLimiter, Rate, RedisLimiter
from llm_pool.security.shared import connection_to
from llm_pool.security.tenants import Tenants, must_prove
from llm_pool.server import page
from llm_pool.server.entry import OPEN as OPEN_PATHS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from llm_pool.config import Config
    from llm_pool.config.models import JwtSettings
    from llm_pool.interfaces import Clock, Emit
    from llm_pool.messages import Event, Query
    from llm_pool.security.jwt import Place
    from llm_pool.security.keys import Key
    from llm_pool.security.nonces import Nonces
    from llm_pool.security.ratelimit import Limiter
    from llm_pool.server.entry import Principal as Entrant

OPEN = (
    OPEN_PATHS
    | {path.encode() for path in page.FILES}
    | {b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch", b"/grpc.health.v1.Health/List"}
)
"""What anybody may ask for: whether we live, and the files of the status page, which know nothing by themselves."""

NEEDED: dict[str, Scope] = {
    "/v1/infer": Scope.INFER,
    "/v1/feedback": Scope.INFER,
    "/v1/tasks": Scope.INFER,
    "/v1/chat/completions": Scope.INFER,
    "/v1/models": Scope.INFER,
    "/v1/models/**": Scope.INFER,
    "/v1/status": Scope.INFER,  # of the tenant's own requests
    "/v1/requests/*": Scope.INFER,  # likewise
    "/v1/config": Scope.OBSERVE,
    "/api/chat": Scope.INFER,
    "/api/generate": Scope.INFER,
    "/api/tags": Scope.INFER,
    "/api/ps": Scope.INFER,
    "/api/show": Scope.INFER,
    "/api/version": Scope.INFER,
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
WRONG = "these credentials are not good here"
NONE = "credentials are needed here"
LOOK_EVERY = 1.0
"""Seconds between two looks at the key file."""
DAY = 86_400.0
BUSY = 1.0
"""Seconds after which a tenant with too many requests in flight may try again."""

_SIGNED = {KEY, TIMESTAMP, NONCE, SIGNATURE}
_JWKS_LIMIT = 256 << 10
_log = logging.getLogger("llm_pool.security")


def needed(path: bytes) -> Scope:
    """The scope that a route needs."""
    return decision(path) or Scope.OPERATE


def decision(path: bytes) -> Scope | None:
    """What ``NEEDED`` says of a path; None where nobody made a decision."""
    segments = path.decode("ascii", "replace").split("/")
    return next((scope for pattern, scope in NEEDED.items() if _fits(pattern.split("/"), segments)), None)


def _fits(pattern: list[str], segments: list[str]) -> bool:
    if pattern[-1] == "**":
        return len(segments) >= len(pattern) and _fits(pattern[:-1], segments[: len(pattern) - 1])
    return len(pattern) == len(segments) and all(p in {"*", s} for p, s in zip(pattern, segments, strict=True))


class _Book(msgspec.Struct, frozen=True, kw_only=True):
    """What one configuration says of clients."""

    config: Config
    keys: Mapping[str, Key]
    tenants: Tenants
    issuers: Mapping[str, Issuer]


class _Stores(msgspec.Struct, frozen=True):
    """Where nonces and rates are kept, and what closes it."""

    place: object
    nonces: Nonces
    limiter: Limiter
    stack: AsyncExitStack


class Doors:
    """
    The door; also an observer, which books the tokens that tenants used.

    ``prepare`` and the function it gives make a configuration count; ``aclose`` releases connections.

    Args:
        config: the first one. Its clients are known once ``opened`` or ``prepare`` read them.
        clock: the time.
        emit: told who was turned away, and which keys are used.
    """

    def __init__(self, config: Config, clock: Clock, emit: Emit) -> None:
        self._clock, self._emit = clock, emit
        self._transport = Transport()
        self._stores, self._past = _stores_for(config, clock), AsyncExitStack()
        self._book = _Book(config=config, keys={}, tenants=Tenants(config.tenancy, {}), issuers={})
        self._stamp: object = None
        self._looked = float("-inf")
        self._looking = asyncio.Lock()
        self._in_flight = Counter[str]()
        self._booking = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Doors]:
        """The door while the block runs; raises ConfigError where the clients cannot be read."""
        (await self.prepare(self._book.config))()
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
        book = _Book(config=config, keys=keys, tenants=Tenants(config.tenancy, keys), issuers=issuers)
        is_same = self._stores.place == _place_of(config)
        stores = self._stores if is_same else _stores_for(config, self._clock)

        def count() -> None:
            if stores is not self._stores:
                self._past.push_async_callback(self._stores.stack.aclose)  # requests that are here still use it
            self._book, self._stamp, self._stores = book, stamp, stores

        return count

    async def aclose(self) -> None:
        """Release connections, once what was used is booked. Idempotent."""
        await asyncio.gather(*self._booking, return_exceptions=True)
        await self._past.aclose()
        await self._stores.stack.aclose()
        await self._transport.aclose()

    async def enter(
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
            principal = await self._who(headers, method, raw_path, query_string, body)
            _check_route(principal, headers, raw_path)
        except (Unauthenticated, PermissionDenied) as error:
            self._emit(TurnedAway(str(error)))
            if isinstance(error, PermissionDenied):
                raise
            sentence = NONE if str(error) == "none" else WRONG
            hint = "a signature, a token or a bearer key; look at the key, the secret and the clock: docs/security.md"
            raise Unauthenticated(sentence, hint=hint) from None
        await self._check_rate(principal)
        return principal

    @asynccontextmanager
    async def admit(self, principal: Entrant, query: Query) -> AsyncIterator[Query]:
        """
        *query* as *principal*, from ``enter``, may ask it, which counts as in flight while the block runs.

        Raises:
            PermissionDenied: it is for another tenant or project, or for a task or strategy not theirs.
            RateLimited: their tokens of the day are used up, or too many of their requests are in flight.
        """
        assert isinstance(principal, Principal)
        try:
            query = allowed(principal, query, self._book.config.strategy_for)
        except PermissionDenied:
            self._emit(TurnedAway("not allowed"))
            raise
        await self._check_tokens(principal)
        tenant, most = principal.tenant_id, principal.grant.in_flight
        if most is not None and self._in_flight[tenant] >= most:
            self._emit(TurnedAway("in flight"))
            raise RateLimited(BUSY)
        self._in_flight[tenant] += 1
        try:
            yield query
        finally:
            self._in_flight[tenant] -= 1
            if not self._in_flight[tenant]:
                del self._in_flight[tenant]

    def on(self, event: Event) -> None:
        """Book the tokens of an attempt to the tenant it was made for."""
        if not isinstance(event, AttemptEnded) or not event.tenant_id:
            return
        rate = _tokens(self._book.tenants.grant(event.tenant_id).tokens_per_day)
        usage = event.attempt.usage
        used = (usage.prompt_tokens or 0) + (usage.completion_tokens or 0)
        if rate is not None and used:
            booking = asyncio.create_task(self._stores.limiter.owe(f"tokens:{event.tenant_id}", rate, float(used)))
            self._booking.add(booking)
            booking.add_done_callback(self._booking.discard)

    async def _who(
        self, headers: Sequence[tuple[bytes, bytes]], method: str, path: bytes, query: bytes, body: bytes
    ) -> Principal:
        if not must_prove(self._book.config):
            if method != "GRPC":  # browsers do not speak it
                check_browser(headers, self._book.config)
            return ANONYMOUS
        await self._look_at_keys(LOOK_EVERY)
        if method == "GRPC":  # the library keeps its content type to itself
            headers = [*(h for h in headers if h[0] != b"content-type"), (b"content-type", b"application/grpc")]
        tokens = [value for name, value in headers if name == b"authorization"]
        is_signed = any(name in _SIGNED for name, _ in headers)
        if len(tokens) > 1 or (tokens and is_signed):
            raise Unauthenticated("twice")
        if not tokens and not is_signed:
            raise Unauthenticated("none")
        try:
            return await self._known(headers, method, path, query, body, tokens)
        except Unauthenticated:
            if not await self._look_at_keys(0.0):
                raise
            return await self._known(headers, method, path, query, body, tokens)

    async def _known(
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
        book, wall = self._book, self._clock.wall()
        parts, signature = signed(method, path, query, headers, body)
        slot = verified(book.config.security.audience, book.tenants.slots(parts.key), parts, signature, wall=wall)
        await self._stores.nonces.use(parts.key, parts.nonce, parts.timestamp)
        self._emit(KeyUsed(parts.key, slot))
        return book.tenants.by_key(parts.key)

    async def _by_token(self, header: bytes) -> Principal:
        scheme, _, token = header.partition(b" ")
        if scheme.lower() != b"bearer" or not token.isascii():
            raise Unauthenticated("shape")
        book, wall, text = self._book, self._clock.wall(), token.strip().decode("ascii")
        if book.issuers and text.count(".") == 2:
            return book.tenants.by_claims(await claims_of(text, book.issuers, wall=wall))
        principal, slot = book.tenants.by_bearer(text, wall=wall)
        self._emit(KeyUsed(principal.name, slot))
        return principal

    async def _look_at_keys(self, every: float) -> bool:
        """Take up a changed key file, if the last look is *every* seconds ago; whether it had changed."""
        config = self._book.config
        if config.security.keys_file is None or self._clock.now() - self._looked < every:
            return False
        async with self._looking:
            self._looked = self._clock.now()
            try:
                stamp, keys = await asyncio.to_thread(_read_keys, config, self._stamp)
            except ConfigError as error:
                _log.warning("the keys stay as they are: %s", error)
                return False
            if stamp == self._stamp or self._book.config is not config:
                return False
            tenants = Tenants(config.tenancy, keys)
            self._book = msgspec.structs.replace(self._book, keys=keys, tenants=tenants)
            self._stamp = stamp
            return True

    async def _check_rate(self, principal: Principal) -> None:
        grant = principal.grant
        if grant.rate is not None:
            sender = f"requests:{principal.tenant_id}"
            verdict = await self._stores.limiter.take(sender, Rate(grant.rate, grant.burst))
            if not verdict.allowed:
                self._emit(TurnedAway("rate"))
                raise RateLimited(verdict.retry_after)

    async def _check_tokens(self, principal: Principal) -> None:
        rate = _tokens(principal.grant.tokens_per_day)
        if rate is not None:
            verdict = await self._stores.limiter.take(f"tokens:{principal.tenant_id}", rate, 0.0)
            if not verdict.allowed:
                self._emit(TurnedAway("tokens"))
                raise RateLimited(verdict.retry_after)

    def _issuers(self, config: Config) -> dict[str, Issuer]:
        """The issuers of *config*; those that were there before keep their keys."""
        before = {its.issuer: its for its in self._book.config.security.jwt}
        issuers = {}
        for its in config.security.jwt:
            known = self._book.issuers.get(its.issuer) if before.get(its.issuer) == its else None
            keys = known.keys if known else Jwks(self._place(its, config), self._clock)
            issuers[its.issuer] = Issuer(its.audience, its.algorithms, keys)
        return issuers

    def _place(self, its: JwtSettings, config: Config) -> Place:
        if its.jwks_file is not None:
            return from_file((config.path.parent / its.jwks_file).read_bytes)
        assert its.jwks_url is not None
        return _from_url(its.jwks_url, self._transport)


def _check_route(principal: Principal, headers: Sequence[tuple[bytes, bytes]], path: bytes) -> None:
    scope = needed(path)
    if scope not in principal.scopes:
        raise PermissionDenied(f"this needs the scope '{scope}'")
    spoken_for = next((value for name, value in headers if name == b"x-tenant"), b"").decode("latin-1")
    if not principal.is_anonymous and spoken_for not in {"", principal.tenant_id}:
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


def _from_url(url: str, transport: Transport) -> Place:
    base, path = _split(url)

    async def place(etag: str) -> Fetched:
        backend = Backend("the issuer", base, headers={"If-None-Match": etag} if etag else {})
        reply = await transport.request(backend, "GET", path, limit=_JWKS_LIMIT)
        if reply.status == 304 and etag:
            return Fetched(None, etag)
        if reply.status != 200:
            raise LlmPoolError(f"the issuer's keys: HTTP {reply.status}")
        return Fetched(reply.body, reply.headers.get("etag", ""))

    return place


def _split(url: str) -> tuple[str, str]:
    """Scheme and authority, and the rest."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority}", f"{slash or '/'}{path}"


def _place_of(config: Config) -> object:
    return config.security.redis_url


def _stores_for(config: Config, clock: Clock) -> _Stores:
    stack, url = AsyncExitStack(), config.security.redis_url
    if url is None:
        return _Stores(None, MemoryNonces(clock), MemoryLimiter(clock), stack)
    redis = connection_to(url.reveal())
    stack.push_async_callback(redis.aclose)
    return _Stores(url, RedisNonces(redis), RedisLimiter(redis, clock), stack)

"""
Tokens of issuers that the configuration names: RFC 8725's rules around PyJWT's signatures.

Asymmetric algorithms only, pinned for each issuer; keys from that issuer's one place and never from the token
(``jwk``, ``jku`` and ``x5u`` are not looked at); unknown critical headers refuse; issuer, audience, expiry and start
must be there and of their types. A token is short before it is decoded, and short-lived before it is believed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from llm_pool.config.values import Scope
from llm_pool.core.errors import Overloaded, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jwt import PyJWK

    from llm_pool.core.interfaces import Clock

MAX_TOKEN_LENGTH = 8192
"""Characters of a token."""
LEEWAY = 60.0
"""Seconds that clocks may differ."""
LIFETIME = 86_400.0
"""Seconds from ``nbf`` to ``exp`` at most."""
REFRESH_AFTER = 600.0
"""Seconds a set of keys is good without another look."""
MAX_AGE = 86_400.0
"""Seconds it is good while its place gives errors."""
RETRY_AFTER = 30.0
"""Seconds between two looks for a key that is not there."""
FETCH_TIMEOUT = 10.0
"""Seconds that one fetch of keys may take."""
WAIT = 1.0
"""Seconds that a request waits for keys it cannot do without; the fetch goes on behind it."""

_TYPES = {"jwt", "at+jwt", "application/at+jwt"}
_FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_log = logging.getLogger("llm_pool.security")


class Claims(msgspec.Struct, frozen=True):
    """What a good token says."""

    subject: str
    tenant_id: str
    project_id: str
    scopes: frozenset[Scope]


class FetchedKeys(msgspec.Struct, frozen=True):
    """A set of keys as it came: *body* is None where it is what *etag* already named."""

    body: bytes | None
    etag: str = ""


class KeySource(Protocol):
    """Where an issuer's keys are."""

    async def __call__(self, etag: str, /) -> FetchedKeys:
        """Look; raises any exception where that fails."""


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: Any = None
    b64: Any = None


class _Payload(msgspec.Struct, frozen=True):
    iss: str
    aud: str | list[str]
    exp: int | float
    nbf: int | float
    tenant_id: str
    iat: int | float | None = None
    sub: str = ""
    project_id: str = ""
    scope: str | list[str] = ""


class Issuer:
    """
    One issuer.

    Args:
        audience: what its tokens must be for.
        algorithms: how they may be signed.
        keys: its public keys.
    """

    def __init__(self, audience: str, algorithms: Sequence[str], keys: Jwks) -> None:
        self.audience, self.algorithms, self.keys = audience, frozenset(algorithms), keys


async def claims_of(token: str, issuers: Mapping[str, Issuer], *, wall: float) -> Claims:
    """
    What *token* says, if all of it is as it should be.

    Args:
        token: as it was sent.
        issuers: by the ``iss`` of their tokens.
        wall: Unix seconds.

    Raises:
        Unauthenticated: it is not; the reason is for our own eyes.
        Overloaded: the issuer's keys cannot be had now.
    """
    header, payload = _read(token)
    issuer = issuers.get(payload.iss)
    if issuer is None:
        raise Unauthenticated("issuer")
    if header.alg not in issuer.algorithms:
        raise Unauthenticated("algorithm")
    if header.crit is not None or header.b64 is not None or (header.typ or "jwt").lower() not in _TYPES:
        raise Unauthenticated("header")
    check_claims(payload, issuer.audience, wall=wall)
    keys = await issuer.keys.find(header.kid, header.alg)
    if not any(_is_signed_by(token, key, header.alg) for key in keys):
        raise Unauthenticated("signature" if keys else "key")
    return Claims(payload.sub or payload.tenant_id, payload.tenant_id, payload.project_id, _scopes(payload.scope))


def check_claims(payload: _Payload, audience: str, *, wall: float) -> None:
    """Whether the token is for us and in its time; raises Unauthenticated."""
    audiences = [payload.aud] if isinstance(payload.aud, str) else payload.aud
    if audience not in audiences:
        raise Unauthenticated("audience")
    if wall >= payload.exp + LEEWAY or wall < payload.nbf - LEEWAY:
        raise Unauthenticated("time")
    if payload.iat is not None and wall < payload.iat - LEEWAY:
        raise Unauthenticated("time")
    if payload.exp - payload.nbf > LIFETIME:
        raise Unauthenticated("lifetime")
    if not payload.tenant_id:
        raise Unauthenticated("claims")


def _read(token: str) -> tuple[_Header, _Payload]:
    """The two parts that are JSON, not yet believed."""
    from jwt import PyJWS
    from jwt.exceptions import PyJWTError

    if len(token) > MAX_TOKEN_LENGTH or token.count(".") != 2:
        raise Unauthenticated("shape")
    try:
        parts = PyJWS().decode_complete(token, options={"verify_signature": False, "enforce_minimum_key_length": True})
        header = msgspec.convert(parts["header"], _Header)
        return header, msgspec.json.decode(parts["payload"], type=_Payload)
    except (PyJWTError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        raise Unauthenticated("shape") from None


def _is_signed_by(token: str, key: PyJWK, algorithm: str) -> bool:
    from jwt import PyJWS
    from jwt.exceptions import PyJWTError

    try:
        PyJWS().decode_complete(
            token, key, [algorithm], options={"verify_signature": True, "enforce_minimum_key_length": True}
        )
    except (PyJWTError, ValueError, TypeError):
        return False
    return True


def _scopes(scope_claim: str | list[str]) -> frozenset[Scope]:
    words = scope_claim.split() if isinstance(scope_claim, str) else scope_claim
    return frozenset(scope for scope in Scope if scope.value in words)


class Jwks:
    """
    An issuer's public keys, fetched behind the scenes and kept while they are fresh.

    A request waits for a fetch only where it needs a key that is not here, and then ``WAIT`` seconds at most: an
    address that hangs costs nobody anything who signs with a key that is known.

    Args:
        source: where they are.
        clock: the time.
    """

    def __init__(self, source: KeySource, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._keys: list[dict[str, Any]] = []
        self._etag = ""
        self._checked_at, self._refreshed_at = float("-inf"), float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> list[PyJWK]:
        """
        The keys that may have signed: those called *kid*, or without a name all that fit *algorithm*.

        Raises:
            Overloaded: no set of keys can be had now.
        """
        if self._clock.now() - self._refreshed_at >= REFRESH_AFTER:
            self._refresh()
        found = self._usable(kid, algorithm)
        if not found:
            self._refresh()
            if self._fetching is not None:
                await asyncio.wait({self._fetching}, timeout=WAIT)
            found = self._usable(kid, algorithm)
        if self._is_too_old or (not found and self._fetching is not None):
            raise Overloaded("the token's issuer", RETRY_AFTER if self._fetching is None else WAIT)
        return found

    async def aclose(self) -> None:
        """End a fetch that runs. Idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    @property
    def _is_too_old(self) -> bool:
        return self._clock.now() - self._refreshed_at >= MAX_AGE

    def _usable(self, kid: str | None, algorithm: str) -> list[PyJWK]:
        return [] if self._is_too_old else _matching(self._keys, kid, algorithm)

    def _refresh(self) -> None:
        """Begin a fetch, unless one runs or ended a moment ago."""
        if self._fetching is not None or self._clock.now() - self._checked_at < RETRY_AFTER:
            return
        self._checked_at = self._clock.now()
        self._fetching = asyncio.create_task(self._fetch(), name="fetch an issuer's keys")

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                fetched = await self._source(self._etag)
            if fetched.body is not None:
                self._keys, self._etag = _public(fetched.body), fetched.etag
            self._refreshed_at = self._clock.now()
        except Exception as error:  # noqa: BLE001  # whatever went wrong, the keys we have go on
            _log.warning("an issuer's keys could not be had: %s", type(error).__name__)
        finally:
            self._fetching = None


def from_file(read: Callable[[], bytes]) -> KeySource:
    """A place that is a file; *read* runs in a thread."""

    async def source(_etag: str) -> FetchedKeys:
        return FetchedKeys(await asyncio.to_thread(read))

    return source


def _public(body: bytes) -> list[dict[str, Any]]:
    """The keys of a set that verify; ones with a private or shared part are left out."""
    keys = msgspec.json.decode(body, type=dict[str, Any])["keys"]
    return [key for key in keys if key.get("use", "sig") == "sig" and not {"k", "d"} & key.keys()]


def _matching(keys: Sequence[dict[str, Any]], kid: str | None, algorithm: str) -> list[PyJWK]:
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    found = []
    for key in keys:
        fits = key.get("kty") == _FAMILIES[algorithm[:2]] and key.get("alg", algorithm) == algorithm
        fits = fits and key.get("crv") == _CURVES.get(algorithm)
        if fits and (kid is None or key.get("kid") == kid):
            try:
                found.append(PyJWK(key, algorithm))
            except PyJWTError:
                continue  # a damaged key verifies nothing
    return found

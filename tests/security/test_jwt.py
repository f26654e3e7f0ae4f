"""S7: which tokens are believed. Keys come from the issuer's own place and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from llm_pool.config.values import Scope
from llm_pool.core.errors import Overloaded, Unauthenticated
from llm_pool.security.jwt import (
    FETCH_TIMEOUT,
    LEEWAY,
    LIFETIME,
    MAX_AGE,
    REFRESH_AFTER,
    RETRY_AFTER,
    WAIT,
    Claims,
    FetchedKeys,
    Issuer,
    Jwks,
    claims_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

WALL = 1_800_000_000.0
RSA, OTHER_RSA = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
GOOD: dict[str, Any] = {
    "iss": "https://id.example",
    "aud": "llm-pool",
    "exp": int(WALL) + 300,
    "nbf": int(WALL) - 10,
    "sub": "robot",
    "tenant_id": "acme",
    "project_id": "p1",
    "scope": "infer observe profile",
}


def _kind_of(key: Any) -> type:
    return next(k for k in (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, object) if isinstance(key, k))


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    kind = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}.get(_kind_of(key), OKPAlgorithm)
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


SET = json.dumps(
    {
        "keys": [
            jwk(RSA, "r1"),
            jwk(EC, "e1", use="sig"),
            jwk(ED, "d1"),
            jwk(WEAK_RSA, "weak"),
            jwk(OTHER_RSA, "for-encryption", use="enc"),
            jwk(OTHER_RSA, "other-alg", alg="PS256"),
            {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "shared"},
            {"kty": "RSA", "n": "AQAB", "kid": "damaged"},
        ]
    }
).encode()


class Time:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> float:
        return self.passed

    def wall(self) -> float:
        return WALL + self.passed


class Place:
    """Where keys are, as a test says; counts the looks."""

    def __init__(self, *bodies: bytes | Exception) -> None:
        self.bodies, self.looks, self.etags, self.hangs = list(bodies), 0, list[str](), False

    async def __call__(self, etag: str, /) -> FetchedKeys:
        self.looks += 1
        self.etags.append(etag)
        if self.hangs:
            await asyncio.sleep(3600)
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        if isinstance(body, Exception):
            raise body
        return FetchedKeys(body or None, "v1")


def issuers(place: Place | None = None, clock: Any = None) -> dict[str, Issuer]:
    keys = Jwks(place or Place(SET), clock or Time())
    return {GOOD["iss"]: Issuer("llm-pool", ("RS256", "ES256", "EdDSA"), keys)}


def made(key: Any = RSA, alg: str = "RS256", kid: str | None = "r1", header: Any = None, **claims: Any) -> str:
    said = {name: value for name, value in {**GOOD, **claims}.items() if value is not None}
    head = {**({"kid": kid} if kid else {}), **(header or {})}
    return jwt.encode(said, key, algorithm=alg, headers=head)


def by_hand(header: dict[str, Any], payload: Any, sign: Callable[[bytes], bytes]) -> str:
    parts = [json.dumps(header).encode(), payload if isinstance(payload, bytes) else json.dumps(payload).encode()]
    start = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (start + b"." + base64.urlsafe_b64encode(sign(start)).rstrip(b"=")).decode()


def hs(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda start: hmac.new(secret, start, hashlib.sha256).digest()


def by_rsa(start: bytes, key: Any = RSA) -> bytes:
    return RSAAlgorithm(RSAAlgorithm.SHA256).sign(start, key)


@pytest.mark.parametrize(
    ("key", "alg", "kid"), [(RSA, "RS256", "r1"), (EC, "ES256", "e1"), (ED, "EdDSA", "d1"), (EC, "ES256", None)]
)
async def test_a_good_token_says_who_it_is_for(key: Any, alg: str, kid: str | None) -> None:
    """Tenant, project and those of the scopes that mean something here."""
    claims = await claims_of(made(key, alg, kid), issuers(), wall=WALL)

    assert claims == Claims("robot", "acme", "p1", frozenset({Scope.INFER, Scope.OBSERVE}))


CRAFTED: dict[str, str] = {
    "no signature": by_hand({"alg": "none"}, GOOD, lambda _: b""),
    "none in capitals": by_hand({"alg": "NONE", "kid": "r1"}, GOOD, lambda _: b""),
    "an empty signature": by_hand({"alg": "RS256", "kid": "r1"}, GOOD, lambda _: b""),
    "shared secret of the public key": by_hand({"alg": "HS256", "kid": "r1"}, GOOD, hs(PUBLIC_PEM)),
    "shared secret of the key as JSON": by_hand(
        {"alg": "HS256", "kid": "r1"}, GOOD, hs(json.dumps(jwk(RSA, "r1")).encode())
    ),
    "a shared key of the set": by_hand(
        {"alg": "HS256", "kid": "shared"}, GOOD, hs(b"secret-secret-secret-secret-secret")
    ),
    "an algorithm that is not pinned": made(RSA, "RS512"),
    "another algorithm than the key's family": by_hand({"alg": "ES256", "kid": "r1"}, GOOD, by_rsa),
    "a key for another algorithm": made(OTHER_RSA, kid="other-alg"),
    "a key for encryption": made(OTHER_RSA, kid="for-encryption"),
    "a key too short": by_hand({"alg": "RS256", "kid": "weak"}, GOOD, lambda start: by_rsa(start, WEAK_RSA)),
    "a damaged key": made(RSA, kid="damaged"),
    "somebody else's key": made(OTHER_RSA, kid="r1"),
    "an unknown kid": made(RSA, kid="r2"),
    "a kid that is a path": made(OTHER_RSA, kid="../../../../dev/null"),
    "a kid that is a list": by_hand({"alg": "RS256", "kid": ["r1"]}, GOOD, by_rsa),
    "its own key in the header": made(OTHER_RSA, kid=None, header={"jwk": jwk(OTHER_RSA, "mine")}),
    "its own place in the header": made(OTHER_RSA, kid="mine", header={"jku": "http://127.0.0.1:9/jwks.json"}),
    "its own certificate in the header": made(
        OTHER_RSA, kid="mine", header={"x5u": "http://127.0.0.1:9/x", "x5c": ["AA=="]}
    ),
    "a critical header": made(header={"crit": ["exp"], "exp": 1}),
    "a detached payload": by_hand({"alg": "RS256", "kid": "r1", "crit": ["b64"], "b64": False}, b"", by_rsa),
    "another type": made(header={"typ": "logout+jwt"}),
    "for somebody else": made(aud="other"),
    "for nobody": made(aud=None),
    "for an empty list": made(aud=[]),
    "of another issuer": made(iss="https://evil.example"),
    "of an issuer with a slash": made(iss="https://id.example/"),
    "of no issuer": made(iss=None),
    "over": made(exp=int(WALL - LEEWAY)),
    "not yet": made(nbf=int(WALL + LEEWAY) + 1),
    "made in the future": made(iat=int(WALL + LEEWAY) + 1),
    "without an end": made(exp=None),
    "without a beginning": made(nbf=None),
    "with an end in words": by_hand({"alg": "RS256", "kid": "r1"}, {**GOOD, "exp": str(GOOD["exp"])}, by_rsa),
    "with an end that is true": by_hand({"alg": "RS256", "kid": "r1"}, {**GOOD, "exp": True}, by_rsa),
    "with an end at infinity": by_hand(
        {"alg": "RS256", "kid": "r1"}, json.dumps({**GOOD, "exp": float("inf")}).encode(), by_rsa
    ),
    "for too long": made(exp=int(WALL + LIFETIME) + 1),
    "without a tenant": made(tenant_id=None),
    "with an empty tenant": made(tenant_id=""),
    "with a tenant that is a list": made(tenant_id=["acme"]),
    "with a payload that is a list": by_hand({"alg": "RS256", "kid": "r1"}, [GOOD], by_rsa),
    "nested ten thousand times": by_hand({"alg": "RS256"}, b"[" * 5000, by_rsa),
    "of a megabyte": made() + "A" * (1 << 20),
    "cut": made()[:-20],
    "of two parts": made().rpartition(".")[0],
    "of four parts": made() + ".AAAA",
    "no token": "a.b.c",
}


@pytest.mark.parametrize("name", CRAFTED)
async def test_a_crafted_token_is_refused_at_once(name: str) -> None:
    """Each by its own rule, and none of them costs more than a look."""
    known = issuers()
    await claims_of(made(), known, wall=WALL)

    began = time.perf_counter()
    with pytest.raises(Unauthenticated):
        await claims_of(CRAFTED[name], known, wall=WALL)
    took = time.perf_counter() - began

    assert took < 0.05  # a few milliseconds, on two busy cores


async def test_a_changed_payload_is_another_token() -> None:
    """The signature is over what is read."""
    header, _, signature = made().split(".")
    payload = base64.urlsafe_b64encode(json.dumps({**GOOD, "tenant_id": "other"}).encode()).rstrip(b"=").decode()

    with pytest.raises(Unauthenticated, match="signature"):
        await claims_of(f"{header}.{payload}.{signature}", issuers(), wall=WALL)


@pytest.mark.parametrize(
    "edge", [{"exp": int(WALL - LEEWAY) + 1}, {"nbf": int(WALL + LEEWAY)}, {"iat": int(WALL) + 60}]
)
async def test_clocks_may_differ_by_a_minute(edge: dict[str, int]) -> None:
    """And no more, as the crafted ones show."""
    assert (await claims_of(made(**edge), issuers(), wall=WALL)).tenant_id == "acme"


async def test_keys_are_fetched_once_while_they_are_fresh() -> None:
    """A thousand tokens are no load on the issuer."""
    clock, place = Time(), Place(SET)
    known = issuers(place, clock)

    for _ in range(3):
        await claims_of(made(), known, wall=WALL)
    assert place.looks == 1
    clock.passed = REFRESH_AFTER
    await claims_of(made(), known, wall=WALL)
    await asyncio.sleep(0)  # the fetch runs behind the request

    assert place.looks == 2
    assert place.etags == ["", "v1"]


async def test_a_key_that_is_not_there_is_looked_for_now_and_then() -> None:
    """An issuer that rotates is followed at once; a stranger's kid is no way to make us ask it all the time."""
    clock, place = Time(), Place(b'{"keys":[]}', SET)
    known = issuers(place, clock)
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="key"):
            await claims_of(made(), known, wall=WALL)
    assert place.looks == 1

    clock.passed = RETRY_AFTER

    assert (await claims_of(made(), known, wall=WALL)).tenant_id == "acme"
    assert place.looks == 2


async def test_an_issuer_that_is_away_is_done_without_for_a_day() -> None:
    """The keys we have go on; after a day nobody can tell, and the asker hears that it is not his fault."""
    clock, place = Time(), Place(SET, OSError("away"))
    known = issuers(place, clock)
    await claims_of(made(), known, wall=WALL)

    clock.passed = MAX_AGE - 1
    assert (await claims_of(made(), known, wall=WALL)).tenant_id == "acme"
    clock.passed = MAX_AGE
    with pytest.raises(Overloaded):
        await claims_of(made(), known, wall=WALL)


@pytest.mark.parametrize("body", [OSError("away"), b"<html>", b"[]", b'{"keys": 3}', b"\xff"])
async def test_a_place_without_keys_believes_nobody(body: bytes | Exception) -> None:
    """Whatever stands there instead."""
    place = Place(body)
    known = issuers(place)

    for _ in range(3):
        with pytest.raises(Overloaded):
            await claims_of(made(), known, wall=WALL)

    assert place.looks == 1


async def test_keys_that_have_not_changed_stay() -> None:
    """A 304 says so."""
    clock, place = Time(), Place(SET, b"")
    known = issuers(place, clock)
    await claims_of(made(), known, wall=WALL)
    clock.passed = REFRESH_AFTER

    assert (await claims_of(made(), known, wall=WALL)).tenant_id == "acme"
    await asyncio.sleep(0)
    assert place.looks == 2


async def test_an_address_that_hangs_costs_nobody_who_signs_with_a_known_key() -> None:
    """Virtual time: ten seconds of hanging, and not one of them waited."""
    clock, loop = Time(), asyncio.get_running_loop()
    place = Place(SET)
    known = issuers(place, clock)
    await claims_of(made(), known, wall=WALL)
    place.hangs, clock.passed = True, REFRESH_AFTER
    began = loop.time()

    for _ in range(20):
        assert (await claims_of(made(), known, wall=WALL)).tenant_id == "acme"

    assert loop.time() == began
    await asyncio.sleep(FETCH_TIMEOUT + 1)


async def test_without_any_key_a_request_waits_a_second_and_is_told_when_to_come_back() -> None:
    clock, loop = Time(), asyncio.get_running_loop()
    place = Place(SET)
    place.hangs = True
    known = issuers(place, clock)
    began = loop.time()

    results = await asyncio.gather(*(claims_of(made(), known, wall=WALL) for _ in range(20)), return_exceptions=True)

    assert all(isinstance(result, Overloaded) and result.retry_after > 0 for result in results)
    assert loop.time() - began == pytest.approx(WAIT)
    assert place.looks == 1
    await asyncio.sleep(FETCH_TIMEOUT + 1)

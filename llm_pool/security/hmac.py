"""
Signed requests: one canonical string for HTTP and gRPC, and the check of a signature.

::

    LPOOL-HMAC-SHA256-V1 ⏎ audience ⏎ METHOD ⏎ raw path ⏎ raw query ⏎ content type ⏎
    x-api-key ⏎ x-timestamp ⏎ x-nonce ⏎ idempotency-key ⏎ x-tenant ⏎ x-deadline-ms ⏎ hex(sha256(body))

The lines are joined by a line feed and none can hold one, so two requests never share a string. What is signed is
what is on the wire: nothing is decoded, ordered or written anew. The verifier decides what is covered; a header that
is absent counts as empty. Over gRPC the method is ``GRPC``, the path ``/package.Service/Method``, the query is
empty, the content type ``application/grpc``, and the body the serialised message.

Order of a check: shape, time, signature in both slots, and only then the nonce: unsigned traffic fills no store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = b"LPOOL-HMAC-SHA256-V1"
WINDOW = 300.0
"""Seconds that a timestamp may be away from our clock, either way."""
NONCE_TTL = 660.0
"""Seconds a nonce is remembered: the window twice, and a minute to spare."""

KEY, TIMESTAMP, NONCE, SIGNATURE = b"x-api-key", b"x-timestamp", b"x-nonce", b"x-signature"
SIGNED_HEADERS = (b"content-type", KEY, TIMESTAMP, NONCE, b"idempotency-key", b"x-tenant", b"x-deadline-ms")
"""Headers in the canonical string, in its order."""

_PATTERN_TEXTS = {
    b"content-type": rb"[\x20-\x7e]{0,200}",
    KEY: rb"[A-Za-z0-9_-]{1,64}",
    TIMESTAMP: rb"[0-9]{10}",
    NONCE: rb"[A-Za-z0-9_-]{22,64}",
    b"idempotency-key": rb"[\x21-\x7e]{0,200}",
    b"x-tenant": rb"[\x21-\x7e]{0,200}",
    b"x-deadline-ms": rb"[0-9]{0,9}",
    b"method": rb"[A-Z]{1,16}",
    b"path": rb"/[\x21-\x7e]{0,2000}",
    b"query": rb"[\x21-\x7e]{0,8000}",
    SIGNATURE: rb"[0-9a-f]{64}",
}
_PATTERNS = {name: re.compile(shape) for name, shape in _PATTERN_TEXTS.items()}
_NOBODY = secrets.token_hex(32)
"""The secret of unknown keys, so that they take the same path as known ones."""


class SignedRequest(msgspec.Struct, frozen=True):
    """
    What a signature covers, as received.

    Attributes:
        headers: those of ``SIGNED_HEADERS``, lower-case names; absent ones count as empty.
        body: SHA-256 of the body's bytes.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def key(self) -> str:
        """The id of the key."""
        return self.headers[KEY].decode("ascii")

    @property
    def nonce(self) -> str:
        """Unique among the key's requests."""
        return self.headers[NONCE].decode("ascii")

    @property
    def timestamp(self) -> float:
        """Unix seconds."""
        return float(self.headers[TIMESTAMP])


class Slot(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One of a key's two secrets.

    Attributes:
        secret: for signatures the text itself, for bearer keys the SHA-256 of it in hex.
        not_before: Unix seconds from which it is good; None: always was.
        not_after: Unix seconds until which it is good; None: for ever.
    """

    secret: str
    not_before: float | None = None
    not_after: float | None = None

    def is_good(self, wall: float) -> bool:
        """Whether it is in its time; *wall* in Unix seconds."""
        return (self.not_before or 0.0) <= wall and (self.not_after is None or wall < self.not_after)

    def __repr__(self) -> str:
        return f"<Slot [{self.not_before} to {self.not_after}]>"


def parse_signed(
    method: str, path: bytes, query: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> tuple[SignedRequest, str]:
    """
    The parts of a request that a signature covers, and the signature.

    Args:
        method: in capitals.
        path: as on the wire.
        query: as on the wire, without the question mark.
        headers: lower-case names; no name of ours may come twice.
        body: as on the wire.

    Raises:
        Unauthenticated: a part is missing, twice there, or not of its shape; the reason is for our own eyes.
    """
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in SIGNED_HEADERS or name == SIGNATURE:
            if name in found:
                raise Unauthenticated("twice")
            found[name] = value
    signature = found.pop(SIGNATURE, b"")
    request = SignedRequest(method.encode(), path, query, found, hashlib.sha256(body).digest())
    if not _is_well_formed(request) or not _PATTERNS[SIGNATURE].fullmatch(signature):
        raise Unauthenticated("shape")
    return request, signature.decode("ascii")


def canonical(audience: str, request: SignedRequest) -> bytes:
    """
    The bytes that are signed.

    Args:
        audience: the service's own name, so that what is signed for one deployment is worth nothing at another.
        request: of one request.

    Raises:
        ValueError: a part is not of its shape.
    """
    if not _is_well_formed(request) or "\n" in audience:
        raise ValueError("a part of the request cannot be signed")
    lines = (VERSION, audience.encode(), request.method, request.path, request.query)
    signed_headers = (request.headers.get(name, b"") for name in SIGNED_HEADERS)
    return b"\n".join((*lines, *signed_headers, request.body.hex().encode()))


def signature_of(audience: str, secret: str, request: SignedRequest) -> str:
    """The signature: HMAC-SHA256 of the canonical string, in hex."""
    return hmac.new(secret.encode(), canonical(audience, request), hashlib.sha256).hexdigest()


def verify_signature(
    audience: str, slots: Mapping[str, Slot] | None, request: SignedRequest, signature: str, *, wall: float
) -> str:
    """
    The name of the slot whose secret made *signature*.

    Both slots are always computed, and an unknown key takes the same path.

    Args:
        audience: the service's own name.
        slots: of the key, by name; None: there is no such key.
        request: of the request.
        signature: that came with it.
        wall: Unix seconds.

    Raises:
        Unauthenticated: the time is out of the window, or no slot's secret made it.
    """
    if abs(wall - request.timestamp) > WINDOW:
        raise Unauthenticated("time")
    match = ""
    for name in ("a", "b"):
        slot = (slots or {}).get(name)
        made = signature_of(audience, slot.secret if slot else _NOBODY, request)
        if hmac.compare_digest(made, signature) and slot is not None and slot.is_good(wall):
            match = name
    if not match:
        raise Unauthenticated("signature" if slots else "key")
    return match


def sign(
    audience: str,
    key: str,
    secret: str,
    *,
    method: str,
    path: str,
    wall: float,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    nonce: str | None = None,
) -> dict[str, str]:
    """
    The headers that a client adds to a request.

    Args:
        audience: of the service, ``security.audience`` in its configuration.
        key: the key's id.
        secret: its secret.
        method: in capitals; ``GRPC`` for gRPC.
        path: as it goes on the wire.
        wall: Unix seconds.
        query: as it goes on the wire, without the question mark.
        headers: those that are sent besides; the covered ones among them are signed.
        body: as it goes on the wire.
        nonce: unique among the key's requests, 22 to 64 letters, digits, ``-``, ``_``; None makes one.

    Raises:
        ValueError: a part cannot be signed.
    """
    own = {"x-api-key": key, "x-timestamp": f"{wall:010.0f}", "x-nonce": nonce or secrets.token_urlsafe(24)}
    sent = {name.lower().encode(): value.encode() for name, value in {**(headers or {}), **own}.items()}
    signed_headers = {name: value for name, value in sent.items() if name in SIGNED_HEADERS}
    digest = hashlib.sha256(body).digest()
    request = SignedRequest(method.encode(), path.encode(), query.encode(), signed_headers, digest)
    return {**own, "x-signature": signature_of(audience, secret, request)}


def _is_well_formed(request: SignedRequest) -> bool:
    values = {b"method": request.method, b"path": request.path, b"query": request.query}
    values |= {name: request.headers.get(name, b"") for name in SIGNED_HEADERS}
    return all(_PATTERNS[name].fullmatch(value) for name, value in values.items())

"""S1 to S5: what a signature covers, and what it is worth."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_pool.core.errors import Unauthenticated
from llm_pool.security import hmac as signing
from llm_pool.security.hmac import SIGNED_HEADERS, SignedRequest, Slot, canonical, parse_signed, sign, verify_signature

WALL = 1_800_000_000.0
SECRET = "lpsk_of-the-tests"
SLOTS = {"a": Slot(secret=SECRET)}
BODY = b'{"task":"expand_queries","prompt":"cats"}'
HEADERS = {"content-type": "application/json", "x-tenant": "acme", "idempotency-key": "id-1", "x-deadline-ms": "900"}


def request(wall: float = WALL, secret: str = SECRET) -> list[tuple[bytes, bytes]]:
    own = sign(
        "here", "acme-web", secret, method="POST", path="/v1/infer", query="a=1", headers=HEADERS, body=BODY, wall=wall
    )
    return [(name.encode(), value.encode()) for name, value in {**HEADERS, **own}.items()]


def check(headers: list[tuple[bytes, bytes]], slots: Any = SLOTS, wall: float = WALL, **changed: Any) -> str:
    asked = {"method": "POST", "path": b"/v1/infer", "query": b"a=1", "body": BODY} | changed
    parts, signature = parse_signed(asked["method"], asked["path"], asked["query"], headers, asked["body"])
    return verify_signature("here", slots, parts, signature, wall=wall)


def test_the_canonical_string_is_the_published_one() -> None:
    """Byte by byte, so that a client in another language can be written from the documentation."""
    parts, signature = parse_signed(
        "POST",
        b"/v1/infer",
        b"a=1",
        [
            (b"content-type", b"application/json"),
            (b"x-api-key", b"acme-web"),
            (b"x-timestamp", b"1800000000"),
            (b"x-nonce", b"n" * 22),
            (b"idempotency-key", b"id-1"),
            (b"x-tenant", b"acme"),
            (b"x-deadline-ms", b"900"),
            (b"x-signature", b"0" * 64),
        ],
        b"{}",
    )

    assert canonical("here", parts) == (
        b"LPOOL-HMAC-SHA256-V1\nhere\nPOST\n/v1/infer\na=1\napplication/json\nacme-web\n1800000000\n"
        b"nnnnnnnnnnnnnnnnnnnnnn\nid-1\nacme\n900\n"
        b"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    )
    assert signature == "0" * 64


def test_what_a_client_signs_is_good() -> None:
    """The two halves of the module agree, with and without what may be absent."""
    bare = sign("here", "k", SECRET, method="GET", path="/health", wall=WALL)
    headers = [(name.encode(), value.encode()) for name, value in bare.items()]

    assert check(request()) == "a"
    assert check(headers, method="GET", path=b"/health", query=b"", body=b"") == "a"


@pytest.mark.parametrize(("away", "is_good"), [(-301, False), (-300, True), (-299, True), (299, True), (301, False)])
def test_a_timestamp_is_good_for_five_minutes_either_way(away: float, is_good: bool) -> None:
    """S1: the edges of the window."""
    headers = request(wall=WALL + away)

    if is_good:
        assert check(headers) == "a"
    else:
        with pytest.raises(Unauthenticated, match="time"):
            check(headers)


def test_no_bit_can_be_flipped() -> None:
    """S2: 5 000 single bits of method, path, query, body and every covered header, and the signature itself."""
    rng, headers = random.Random(2), request()
    parts: dict[str, bytes] = {"method": b"POST", "path": b"/v1/infer", "query": b"a=1", "body": BODY}
    names = [*parts, *(name for name, _ in headers)]
    survived = []

    for _ in range(5000):
        name = rng.choice(names)
        if isinstance(name, str):
            changed = {**parts, name: flipped(parts[name], rng)}
            asked = headers
        else:
            changed = parts
            asked = [(n, flipped(value, rng) if n == name else value) for n, value in headers]
        try:
            check(asked, **{**changed, "method": changed["method"].decode("latin-1")})
        except Unauthenticated:
            continue
        survived.append(name)

    assert not survived


def flipped(value: bytes, rng: random.Random) -> bytes:
    bit = rng.randrange(len(value) * 8)
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", ["x-api-key", "x-timestamp", "x-nonce", "x-signature", "content-type", "x-tenant"])
def test_a_header_comes_once(name: str) -> None:
    """Two of a kind could be read in two ways, even two equal ones."""
    headers = request()
    twin = next(header for header in headers if header[0] == name.encode())

    with pytest.raises(Unauthenticated, match="twice"):
        check([*headers, twin])


@pytest.mark.parametrize("name", ["x-api-key", "x-timestamp", "x-nonce", "x-signature"])
def test_nothing_that_is_needed_may_be_absent(name: str) -> None:
    """Nor what was signed may be taken away."""
    with pytest.raises(Unauthenticated):
        check([header for header in request() if header[0] != name.encode()])


@pytest.mark.parametrize("name", ["x-tenant", "idempotency-key", "x-deadline-ms", "content-type"])
def test_a_covered_header_cannot_be_taken_away(name: str) -> None:
    """An absent header is signed as an empty one."""
    with pytest.raises(Unauthenticated, match="signature"):
        check([header for header in request() if header[0] != name.encode()])


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
PARTS = st.builds(
    SignedRequest,
    method=st.sampled_from([b"GET", b"POST", b"GRPC"]),
    path=TEXT.map(lambda text: b"/" + text.replace(" ", "").encode()),
    query=TEXT.map(lambda text: text.replace(" ", "").encode()),
    headers=st.fixed_dictionaries(
        {
            b"x-api-key": st.from_regex(rb"[A-Za-z0-9_-]{1,8}", fullmatch=True),
            b"x-timestamp": st.from_regex(rb"[0-9]{10}", fullmatch=True),
            b"x-nonce": st.from_regex(rb"[A-Za-z0-9_-]{22,24}", fullmatch=True),
        },
        optional={
            b"content-type": TEXT.map(str.encode),
            b"idempotency-key": TEXT.map(lambda text: text.replace(" ", "").encode()),
            b"x-tenant": TEXT.map(lambda text: text.replace(" ", "").encode()),
            b"x-deadline-ms": st.from_regex(rb"[0-9]{0,9}", fullmatch=True),
        },
    ),
    body=st.binary(max_size=3).map(lambda body: hashlib.sha256(body).digest()),
)


@given(PARTS, PARTS, TEXT, TEXT)
@settings(max_examples=300, deadline=None)
def test_two_requests_never_share_a_canonical_string(
    one: SignedRequest, other: SignedRequest, here: str, there: str
) -> None:
    """S3: equal strings mean equal parts, where absent and empty headers count as the same."""

    def meaning(parts: SignedRequest, audience: str) -> tuple[Any, ...]:
        return (
            audience,
            parts.method,
            parts.path,
            parts.query,
            [parts.headers.get(n, b"") for n in SIGNED_HEADERS],
            parts.body,
        )

    is_same = canonical(here, one) == canonical(there, other)

    assert is_same == (meaning(one, here) == meaning(other, there))


@given(
    PARTS,
    st.sampled_from([b"\n", b"\r", b"\x00", b"\xff"]),
    st.sampled_from(["method", "path", "query", *SIGNED_HEADERS]),
)
@settings(max_examples=100, deadline=None)
def test_no_line_break_gets_into_the_canonical_string(parts: SignedRequest, char: bytes, where: Any) -> None:
    """S3: the one character that could move a border is no part of any field."""
    values = {"method": parts.method, "path": parts.path, "query": parts.query, "headers": dict(parts.headers)}
    if isinstance(where, bytes):
        values["headers"] = {**parts.headers, where: parts.headers.get(where, b"") + char}
    else:
        values[where] += char

    with pytest.raises(ValueError, match="cannot be signed"):
        canonical("here", SignedRequest(**values, body=parts.body))


def test_a_signature_is_for_one_service_only() -> None:
    """What was signed for a test deployment is no good in production."""
    parts, signature = parse_signed("POST", b"/v1/infer", b"a=1", request(), BODY)

    with pytest.raises(Unauthenticated, match="signature"):
        verify_signature("there", SLOTS, parts, signature, wall=WALL)


def test_both_secrets_are_good_while_clients_change_over() -> None:
    """S4: slot a, slot b, one not yet good, one no longer."""
    new = "lpsk_the-next-one"
    both = {"a": Slot(secret=SECRET), "b": Slot(secret=new)}

    assert check(request(), both) == "a"
    assert check(request(secret=new), both) == "b"
    for slot in (Slot(secret=new, not_before=WALL + 1), Slot(secret=new, not_after=WALL)):
        with pytest.raises(Unauthenticated, match="signature"):
            check(request(secret=new), {"a": Slot(secret=SECRET), "b": slot})
    assert check(request(secret=new), {"b": Slot(secret=new, not_before=WALL, not_after=WALL + 1)}) == "b"


@pytest.mark.parametrize("slots", [None, {}, SLOTS, {"b": Slot(secret="x")}, {**SLOTS, "b": Slot(secret="x")}])
def test_every_key_takes_the_same_path(slots: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """S5: two signatures are made and compared in constant time, for unknown keys and empty slots too."""
    made, compared = [], []
    new, compare = hmac.new, hmac.compare_digest
    monkeypatch.setattr(signing.hmac, "new", lambda *args: made.append(args) or new(*args))
    monkeypatch.setattr(signing.hmac, "compare_digest", lambda *args: compared.append(args) or compare(*args))
    headers = request()
    made.clear()

    with contextlib.suppress(Unauthenticated):
        check(headers, slots)

    assert (len(made), len(compared)) == (2, 2)


def test_secrets_do_not_show_themselves() -> None:
    """A slot in a log line or a traceback says when it is good, and not what it is."""
    assert SECRET not in repr(SLOTS)

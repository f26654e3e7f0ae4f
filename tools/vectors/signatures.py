"""Requests, the bytes of them that are signed, and the signature; and requests that cannot be signed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from llm_pool.security.hmac import SIGNED_HEADERS, SignedRequest, canonical, sign

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

BASE: dict[str, Any] = {
    "audience": "llm-pool",
    "key": "acme-web",
    "secret": "lpsk_of-the-vectors",
    "method": "POST",
    "path": "/v1/infer",
    "query": "",
    "headers": {"content-type": "application/json"},
    "body": '{"prompt":"Is 17 prime?"}',
    "wall": 1_800_000_000.25,
    "nonce": "n0nce-of-the-vectors_22",
}
SIGNED: dict[str, dict[str, Any]] = {
    "a question": {},
    "without a body": {"method": "GET", "path": "/health", "headers": {}, "body": ""},
    "every header that is covered": {
        "headers": {
            "content-type": "application/json",
            "idempotency-key": "id-1",
            "x-tenant": "acme",
            "x-deadline-ms": "900",
        }
    },
    "headers that are not covered": {
        "headers": {"content-type": "application/json", "accept": "text/event-stream", "x-request-id": "r1"}
    },
    "names of headers in any letter case": {"headers": {"Content-Type": "application/json", "X-Deadline-Ms": "900"}},
    "a body beyond ASCII": {"body": '{"prompt":"Ist 17 prim? 🙂 \u2028 é"}'},
    "a path before ours": {"path": "/pool/v1/infer"},
    "a query on the wire": {"method": "GET", "path": "/v1/history", "query": "limit=10&after=%2Fx", "body": ""},
    "an audience of one's own": {"audience": "prod.example"},
    "gRPC": {
        "method": "GRPC",
        "path": "/llmpool.v1.LLMPool/Infer",
        "headers": {"content-type": "application/grpc"},
        "body": "\n\x04abcd",
    },
    "the first half of a second": {"wall": 1_800_000_000.5},
    "the second half of a second": {"wall": 1_800_000_000.75},
    "a nonce of 64": {"nonce": "N" * 64},
}
REFUSED: dict[str, dict[str, Any]] = {
    "a nonce that is too short": {"nonce": "short"},
    "a nonce of other letters": {"nonce": "n" * 22 + "="},
    "a key of other letters": {"key": "acme web"},
    "a method in small letters": {"method": "post"},
    "a path that is none": {"path": "v1/infer"},
    "a line feed in the path": {"path": "/v1/infer\nx"},
    "a line feed in a header": {"headers": {"content-type": "text/plain\nx-tenant: other"}},
    "a line feed in the audience": {"audience": "llm-pool\nx"},
    "a deadline that is no number": {"headers": {"x-deadline-ms": "1.5"}},
}


def vectors() -> list[Json]:
    """One for each case."""
    return [*(_signed(name, BASE | case) for name, case in SIGNED.items()), *map(_refused, REFUSED)]


def signed_with(case: dict[str, Any]) -> dict[str, str]:
    """The headers that the Python client adds in *case*."""
    asked = {name: case[name] for name in ("method", "path", "query", "headers", "wall", "nonce")}
    return sign(case["audience"], case["key"], case["secret"], body=case["body"].encode(), **asked)


def _signed(name: str, case: dict[str, Any]) -> Json:
    added = signed_with(case)
    sent = {key.lower().encode(): value.encode() for key, value in {**case["headers"], **added}.items()}
    request = SignedRequest(
        case["method"].encode(),
        case["path"].encode(),
        case["query"].encode(),
        {key: value for key, value in sent.items() if key in SIGNED_HEADERS},
        hashlib.sha256(case["body"].encode()).digest(),
    )
    return {"name": name, **case, "canonical": canonical(case["audience"], request).decode(), "added": added}


def _refused(name: str) -> Json:
    return {"name": name, **BASE, **REFUSED[name], "refused": True}

"""
What an error is called on the wire: one table for HTTP and gRPC.

A class without a row of its own has its parent's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from llm_pool.core import errors
from llm_pool.core.errors import LlmPoolError


class Status(NamedTuple):
    """An HTTP status, and the name of a gRPC status code."""

    http: int
    grpc: str


STATUSES: dict[type[LlmPoolError], Status] = {
    errors.ConfigError: Status(500, "INTERNAL"),
    errors.InvalidRequest: Status(400, "INVALID_ARGUMENT"),
    errors.UnknownModel: Status(404, "NOT_FOUND"),
    errors.ContextLengthExceeded: Status(400, "INVALID_ARGUMENT"),
    errors.RequestIdReused: Status(422, "INVALID_ARGUMENT"),
    errors.Unauthenticated: Status(401, "UNAUTHENTICATED"),
    errors.PermissionDenied: Status(403, "PERMISSION_DENIED"),
    errors.RateLimited: Status(429, "RESOURCE_EXHAUSTED"),
    errors.Overloaded: Status(503, "UNAVAILABLE"),
    errors.Cancelled: Status(499, "CANCELLED"),  # as Google's APIs pair them
    errors.DeadlineExceeded: Status(504, "DEADLINE_EXCEEDED"),
    errors.NoConsensus: Status(422, "FAILED_PRECONDITION"),
    errors.AllProvidersFailed: Status(502, "UNAVAILABLE"),
    errors.AllProvidersUnavailable: Status(503, "UNAVAILABLE"),
    errors.ProviderError: Status(502, "UNAVAILABLE"),
    LlmPoolError: Status(500, "INTERNAL"),
}


def status_of(error: LlmPoolError) -> Status:
    """The row of *error*."""
    kind = type(error)
    if kind not in _rows:
        _rows[kind] = next(STATUSES[one] for one in kind.__mro__ if one in STATUSES)
    return _rows[kind]


_rows: dict[type[LlmPoolError], Status] = {}


def retry_after(error: LlmPoolError) -> str | None:
    """The value of a ``Retry-After`` header: whole seconds, at least one; None where waiting would not help."""
    seconds = getattr(error, "retry_after", None)
    return None if seconds is None else str(max(1, math.ceil(seconds)))

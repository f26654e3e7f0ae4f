"""Every error has its status, over HTTP and over gRPC."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from llm_pool.core import errors
from llm_pool.core.errors import LlmPoolError, Overloaded, RateLimited
from llm_pool.server.status import STATUSES, retry_after, status_of


def _leaves(kind: type[LlmPoolError]) -> list[type[LlmPoolError]]:
    below = [leaf for child in kind.__subclasses__() for leaf in _leaves(child)]
    return below or [kind]


OURS = [leaf for leaf in _leaves(LlmPoolError) if leaf.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_row_of_its_own_or_its_parents(kind: type[LlmPoolError]) -> None:
    """None falls through to the bug's row."""
    assert any(parent in STATUSES for parent in kind.__mro__[: kind.__mro__.index(LlmPoolError)])
    assert status_of(kind.__new__(kind)) is not STATUSES[LlmPoolError]


def test_every_status_is_one_that_both_protocols_know() -> None:
    """But 499, which Google's APIs and nginx use and the registry does not have."""
    grpc = {
        "CANCELLED", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION", "ABORTED", "INTERNAL", "UNAVAILABLE", "UNAUTHENTICATED",
    }  # fmt: skip
    for status in STATUSES.values():
        assert status.grpc in grpc
        assert status.http == 499 or HTTPStatus(status.http)


@pytest.mark.parametrize(
    ("error", "header"),
    [(Overloaded("it", 0.2), "1"), (RateLimited(1.2), "2"), (errors.Unauthenticated("no"), None)],
)
def test_retry_after_is_in_whole_seconds_and_never_too_early(error: LlmPoolError, header: str | None) -> None:
    """A client that comes at the second finds room."""
    assert retry_after(error) == header

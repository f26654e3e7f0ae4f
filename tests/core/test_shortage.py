"""What has run out is told from what failed."""

from __future__ import annotations

import errno

import pytest

from llm_pool.core.shortage import lacking


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_descriptors_are_named(number: int) -> None:
    assert "file descriptors" in (lacking(OSError(number, "x")) or "")


def test_the_cause_is_looked_at_too() -> None:
    outer = RuntimeError("cannot read")
    outer.__cause__ = OSError(errno.EMFILE, "x")

    assert lacking(outer) == lacking(outer.__cause__) is not None


@pytest.mark.parametrize("error", [None, OSError(errno.ECONNREFUSED, "x"), ValueError("24")])
def test_anything_else_is_no_shortage(error: BaseException | None) -> None:
    assert lacking(error) is None

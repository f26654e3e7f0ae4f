"""Daemons for SDKs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DAEMON = Path(__file__).parents[2] / "tools" / "sdk_daemon.py"


@pytest.fixture(scope="session")
def daemons() -> Iterator[dict[str, Any]]:
    """What ``tools/sdk_daemon.py`` tells, while it serves."""
    with subprocess.Popen(
        [sys.executable, str(DAEMON)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate()

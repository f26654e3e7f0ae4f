"""
The small clients of bench/clients, each installed from its pinned list and run unmodified against ``llm-pool serve``.

They are run once, one after the other, by ``python -m bench.clients --ci``; a client whose packages cannot be had
here is skipped and says why. The others are for ``python -m bench.clients``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.clients import catalog

ROOT = Path(__file__).parents[2]
CLIENTS = {client.key: client for client in catalog.load() if client.ci}
PATIENCE = 600.0

pytestmark = pytest.mark.timeout(PATIENCE + 30)  # the first test waits for all, and for what is installed


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """What each client did, by client."""
    command = [sys.executable, "-m", "bench.clients", "--ci", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    lines = [msgspec.json.decode(line) for line in ran.stdout.splitlines()]
    assert lines, ran.stderr
    return {line["client"]: line for line in lines}


@pytest.mark.parametrize("key", CLIENTS)
def test_a_client_works_unmodified(told: dict[str, Any], key: str) -> None:
    """Every cell that it offers, but for those that fail for reasons of its own."""
    result = told[key]
    if "left_out" in result:
        pytest.skip(result["left_out"])

    assert result["cells"] == {cell: CLIENTS[key].fails.get(cell, "") for cell in CLIENTS[key].cells}

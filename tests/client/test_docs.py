"""docs/api.md is true: its Python is run against a daemon, its table compared."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.client.credentials import VARIABLES
from llm_pool.core import errors
from llm_pool.server.status import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.anyio
@pytest.mark.real_loop
async def test_the_examples_run(daemons: Callable[..., Any], protocol: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By each way; what they print is there."""

    def run(url: str, address: str) -> None:
        for example in EXAMPLES:
            scope: dict[str, Any] = {"URL": url, "GRPC_ADDRESS": address}
            exec(example, scope)
            if "read_along" in scope:
                asyncio.run(scope["read_along"]())

    async with daemons() as daemon:
        await asyncio.to_thread(run, daemon.urls[protocol], daemon.urls["grpc"].partition("://")[2])

    out = capsys.readouterr().out
    assert "phi3:mini {'must_include'" in out
    assert "heard: Tell me of the sea." in out
    assert "task did you mean expand_queries?" in out
    assert out.count("first valid answer") == 2


def test_the_table_of_errors_is_the_codes_own() -> None:
    """Each error that reaches a caller."""
    inside = {errors.LlmPoolError, errors.ConfigError, errors.ProviderError}
    page = re.sub(r"`, of the [^|]*\|", "` |", PAGE)
    rows = {f"| `{kind.__name__}` | {s.http} | {s.grpc} |" for kind, s in STATUSES.items() if kind not in inside}

    assert rows == set(re.findall(r"^\| `[A-Z]\w+` \| .*$", page, re.MULTILINE))


def test_every_variable_is_named() -> None:
    """Those that the client reads."""
    assert all(f"`{name}`" in PAGE for name in VARIABLES.values())

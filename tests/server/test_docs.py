"""docs/daemon.md works as it stands: each of its commands, against a daemon."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.server.status import STATUSES
from llm_pool.wire.json import error_code

if TYPE_CHECKING:
    from llm_pool.core.errors import LlmPoolError

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

PAGE = (Path(__file__).parents[2] / "docs" / "daemon.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
async def test_every_command_of_the_page_works(daemon: Any) -> None:
    """In the page's order: the last ones need what the first ones did."""
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        process = await asyncio.create_subprocess_shell(
            command, env={**os.environ, "URL": daemon.url}, stdout=asyncio.subprocess.PIPE
        )
        said = (await process.communicate())[0].decode()

        assert process.returncode == 0, command
        assert said, command
        assert '"error":{' not in said, (command, said)


def test_every_status_of_the_table_is_one_that_errors_have() -> None:
    """And each with its code."""
    rows = re.findall(r"^\| ([0-9, ]+) \| (.+?) \|", PAGE, re.MULTILINE)
    documented = {code for _, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    statuses = {int(status) for row, _ in rows for status in row.split(",")}

    by_code = {_code(kind): status.http for kind, status in STATUSES.items()}
    by_http = {"bad_request", "slow_body", "body_too_large", "unsupported_encoding"}
    assert documented - set(by_code) == {*by_http, "stopping"}
    assert {status for code, status in by_code.items() if code in documented} <= statuses


def _code(kind: type[LlmPoolError]) -> str:
    return error_code(kind.__new__(kind))

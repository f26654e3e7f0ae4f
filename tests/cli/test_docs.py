"""docs/cli.md is true: its examples are run, its tables compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llm_pool.cli.bench.figures import MEASURES
from llm_pool.cli.commands import COMMANDS
from llm_pool.cli.exit_codes import ExitCode

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def examples() -> list[tuple[str, str]]:
    """Each command of the page with what it prints."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL):
        for example in block.split("$ ")[1:] if block.startswith("$ ") else []:
            line, _, shown = example.partition("\n")
            found.append((line, shown))
    return found


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("line", "shown"), examples(), ids=lambda value: value.splitlines()[0][:40] if value else "")
def test_an_example_does_what_the_page_says(line: str, shown: str, tmp_path: Path) -> None:
    """In a shell, with stdout and stderr as they come."""
    if "| jq " in line and shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llm-pool"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_pool "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    env = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}

    done = subprocess.run(
        ["bash", "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, shown)


def test_the_page_has_the_exit_codes_of_the_code() -> None:
    """The table is written by hand once, and compared for ever."""
    rows = [f"| {code.value} | {code.meaning} |" for code in ExitCode]
    assert PAGE.partition("<!-- exit codes -->\n")[2] == "\n".join(["| code | meaning |", "|---|---|", *rows]) + "\n"


def test_the_page_has_every_measure_and_every_command() -> None:
    assert PAGE.partition("<!-- measures -->\n")[2].partition(";")[0] == ", ".join(f"`{name}`" for name in MEASURES)
    assert {name for name in COMMANDS if f"llm-pool {name}" not in PAGE} == set()

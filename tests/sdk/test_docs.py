"""docs/sdk.md is true: its five calls run, in Python and with curl here, elsewhere by the tests of each SDK."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llm_pool.client.retry import INITIAL_BACKOFF, MAX_WAIT
from tools.vectors import FOLDER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def five_calls(page: str, url: str = "http://127.0.0.1:7071") -> dict[str, str]:
    """The programs of *page* by language, which ask *url*."""
    section = page.partition("<!-- five calls")[2].partition("<!-- end of five calls -->")[0]
    blocks = re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    return {language: code.replace("http://127.0.0.1:7071", url) for language, code in blocks}


def test_the_readme_shows_the_same() -> None:
    assert five_calls(README) == five_calls(PAGE)


def test_python(daemons: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    exec(five_calls(PAGE, daemons["open"]["http"])["python"], {})

    out = capsys.readouterr().out
    assert all(words in out for words in ("True", "heard: Is 17 prime?", "heard: Tell me of the sea.", "my name?"))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")
def test_curl(daemons: dict[str, Any]) -> None:
    code = five_calls(PAGE, daemons["open"]["http"])["sh"]

    done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True, check=True)

    assert '"healthy":true' in done.stdout
    assert "heard: Is 17 prime?" in done.stdout
    assert '"learned":' in done.stdout
    assert "event: answer" in done.stdout
    assert "heard: What is my name?" in done.stdout


def test_every_file_of_the_contract_is_named() -> None:
    assert {f"`{path.name}`" for path in FOLDER.glob("*.json")} == set(
        re.findall(r"^\| (`\w+\.json`)", PAGE, re.MULTILINE)
    )


def test_the_numbers_are_the_codes_own() -> None:
    assert f"{INITIAL_BACKOFF * 1000:.0f} ms" in PAGE
    assert f"more than {MAX_WAIT:.0f} s" in PAGE

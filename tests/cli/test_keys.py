"""``llm-pool keys``: told once, on stdout, and in no other place."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.main import run
from llm_pool.security.keys import KeyFile

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
[security]
keys_file = "keys.json"
[tenancy.acme]
[[providers]]
name = "p"
driver = "ollama"
base_url = "http://127.0.0.1:9"
model = "m"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "llm-pool.toml"
    path.write_text(TEXT)
    return path


def keys(capsys: Any, config: Path, *words: str) -> tuple[int, Any, str]:
    """The exit code, stdout as JSON, and stderr of ``llm-pool keys``."""
    code = run(["keys", *words, "--config", str(config), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out.strip() else None, err


def test_a_key_is_made_rotated_and_retired(capsys: Any, config: Path, tmp_path: Path) -> None:
    """The file beside the configuration follows."""
    _, made, _ = keys(capsys, config, "create", "acme", "--days", "30")
    _, rotated, _ = keys(capsys, config, "rotate", made["key"])
    code, retired, _ = keys(capsys, config, "retire", made["key"], "a")
    _, listed, _ = keys(capsys, config, "list")

    slots = KeyFile(tmp_path / "keys.json").load()[made["key"]].slots
    assert code == ExitCode.OK
    assert {name: slot.secret for name, slot in slots.items()} == {"b": rotated["secret"]}
    assert retired == {"key": made["key"], "slot": "a", "retired": True}
    assert listed[0]["slots"] == {"b": {"not_before": None, "not_after": None}}
    assert "secret" not in json.dumps(listed)


def test_a_secret_is_told_once(capsys: Any, config: Path) -> None:
    """Neither list nor an error tells it again, and nothing on stderr ever does."""
    code = run(["keys", "create", "acme", "--config", str(config)])
    out, err = capsys.readouterr()
    secret = next(line.split()[1] for line in out.splitlines() if line.startswith("secret"))
    run(["keys", "list", "--config", str(config)])
    run(["keys", "retire", "nobody", "--config", str(config)])
    after = capsys.readouterr()

    assert code == ExitCode.OK
    assert secret.startswith("lpsk_")
    assert secret not in err + after.out + after.err


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("create", "acne"), ExitCode.USAGE, "acme"),
        (("create", "*"), ExitCode.USAGE, None),
        (("rotate", "nobody"), ExitCode.USAGE, "keys list"),
        (("retire", "nobody", "c"), ExitCode.USAGE, None),
    ],
)
def test_what_makes_no_sense_is_told_with_the_way_out(
    capsys: Any, config: Path, words: tuple[str, ...], code: int, hint: str | None
) -> None:
    """A tenant that is not served, a key that is not there, a slot of no name."""
    told, out, err = keys(capsys, config, *words)

    assert (told, out) == (code, None)
    assert hint is None or hint in err


def test_a_file_is_named_where_the_configuration_names_none(capsys: Any, config: Path, tmp_path: Path) -> None:
    """Or asked for, with the line to write."""
    config.write_text(TEXT.replace('keys_file = "keys.json"', ""))

    code, _, err = keys(capsys, config, "list")
    named = run(["keys", "create", "whoever", "--keys-file", str(tmp_path / "other.json")])

    assert code == ExitCode.CONFIG
    assert "keys_file" in err
    assert named == ExitCode.OK


def test_the_server_is_not_imported_for_a_key() -> None:
    """Making one is quick, and works without the daemon's extra."""
    said = subprocess.run(
        [sys.executable, "-c", "import sys, llm_pool.cli.keys, llm_pool.security.keys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not {"fastapi", "uvicorn", "grpc", "jwt", "redis", "cryptography"} & set(said)

"""``llm-pool config``, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_pool.cli.main import run
from llm_pool.config import builtin_config

GOOD = '[[providers]]\nname = "one"\ndriver = "llamacpp"\nmodel = "m"\n'


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.delenv("LLM_POOL_CONFIG", raising=False)


def test_path_says_which_file_counts_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """The path alone on stdout, for scripts."""
    assert run(["config", "path"]) == 0
    assert capsys.readouterr().out == f"{builtin_config()}\n"

    Path("llm-pool.toml").touch()
    assert run(["config", "path"]) == 0
    out, err = capsys.readouterr()
    assert Path(out.strip()).name == "llm-pool.toml"
    assert err == "from the working directory, or above it up to the repository root\n"


def test_check_names_every_mistake_and_exits_78(capsys: pytest.CaptureFixture[str]) -> None:
    """All of them on stderr, each with its line."""
    Path("llm-pool.toml").write_text(f"{GOOD}wieght = 1\n[qos]\nhedge = 'x'\n", encoding="utf-8")

    assert run(["config", "check", "llm-pool.toml"]) == 78

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: llm-pool.toml:5: providers[0].wieght: expected a known key, got the unknown key wieght",
        "hint: did you mean weight?",
        'error: llm-pool.toml:7: qos.hedge: expected one of fixed, auto, off, got "x"',
        "hint: llm-pool config explain qos.hedge",
    ]


def test_check_says_that_a_good_file_is_good(capsys: pytest.CaptureFixture[str]) -> None:
    Path("llm-pool.toml").write_text(GOOD, encoding="utf-8")

    assert run(["config", "check", "llm-pool.toml"]) == 0
    assert capsys.readouterr().out == "llm-pool.toml: good, 1 provider\n"


def test_show_writes_what_counts_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text(GOOD, encoding="utf-8")

    assert run(["config", "show", "--config", "mine.toml", "--origin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "# mine.toml"
    assert 'model = "m"          # mine.toml:4' in lines

    assert run(["config", "show", "-c", "mine.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["qos"]["hedge_after_ms"] == 300


def test_show_of_a_broken_file_exits_78(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text("[", encoding="utf-8")

    assert run(["config", "show", "-c", "mine.toml"]) == 78
    assert capsys.readouterr().err.startswith("error: mine.toml:1: expected TOML")


@pytest.mark.parametrize("full", [[], ["--full"]])
def test_init_writes_a_good_file_and_never_writes_over_one(full: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init", *full]) == 0
    written = Path("llm-pool.toml").read_bytes()
    assert run(["config", "check"]) == 0
    capsys.readouterr()

    assert run(["config", "init", *full]) == 2
    assert "llm-pool.toml is there already" in capsys.readouterr().err
    assert Path("llm-pool.toml").read_bytes() == written


def test_init_where_nothing_can_be_written_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init", "no/such/folder.toml"]) == 2
    assert "no/such/folder.toml cannot be written: no such file or directory" in capsys.readouterr().err


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "llm-pool.toml"


def test_explain_says_what_a_key_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "explain", "qos.hedge_after_ms"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "qos.hedge_after_ms",
        (
            "  Silence after which a provider counts as late, at most half of the time left. "
            "With `auto`: until enough is known."
        ),
        "  accepts  an integer from 1 to 86400000 (ms)",
        "  default  300",
    ]


def test_explain_knows_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "explain", "qos.hedge_afer_ms"]) == 2
    assert capsys.readouterr().err == (
        "error: KEY: there is no key qos.hedge_afer_ms\nhint: did you mean qos.hedge_after_ms?\n"
    )

"""A command whose extra is not installed says which one it needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.main import run

if TYPE_CHECKING:
    import pytest


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a bug, not a traceback: one line, and what to type."""
    monkeypatch.setitem(sys.modules, "httpx2", None)
    monkeypatch.delitem(sys.modules, "llm_pool.client.http_transport", raising=False)

    code = run(["infer", "--url", "http://127.0.0.1:1", "--no-stdin", "x"])

    assert code == ExitCode.CONFIG
    assert "pip install 'llm-pool[client]'" in capsys.readouterr().err


def test_a_missing_library_of_the_system_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Slim images have no libstdc++: which library, and the package that brings it."""
    sentence = "libstdc++.so.6: cannot open shared object file: No such file or directory"

    def broken(_name: str) -> None:
        raise ImportError(sentence, name="grpc._cython.cygrpc")

    monkeypatch.setattr("llm_pool.cli.commands.load_command", broken)

    code = run(["serve"])

    assert code == ExitCode.CONFIG
    err = capsys.readouterr().err
    assert "libstdc++.so.6 is missing" in err
    assert "apt-get install libstdc++6" in err

"""``llm-pool models``, against a server and a folder."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llm_pool.cli import model_stores
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.main import run
from llm_pool.providers.gguf import BUNDLED
from llm_pool.testing.processes import running_upstream

Configure = Callable[..., Path]
Start = Callable[..., Any]
GGUF = b"GGUF\x03\x00\x00\x00" + bytes(16)
ENGINE = '[[providers]]\nname = "pocket"\ndriver = "llamacpp"\nmodel = "pocket-a"\n'


@pytest.fixture
def url(configure: Configure) -> Any:
    """A server of its own: these tests change what it has. Three providers share it, and want one model more."""
    with running_upstream("--model", "phi3:mini", "--model", "stray:1b") as url:
        configure(url, "phi3:mini", "llama3.1:8b", more="")
        path = Path("llm-pool.toml")
        path.write_text(path.read_text(encoding="utf-8") + ENGINE, encoding="utf-8")
        yield url


def test_list_has_each_server_once_with_what_is_missing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Several providers of one server are one entry; the model folder is always there."""
    assert run(["models", "list", "--json"]) == ExitCode.OK
    server, folder = json.loads(capsys.readouterr().out)

    assert (server["place"], server["providers"], server["missing"]) == (url, ["phi3", "llama31"], ["llama3.1:8b"])
    assert [model["name"] for model in server["models"]] == ["phi3:mini", "stray:1b"]
    assert folder["providers"] == ["pocket"]
    assert "pocket-a" in [model["name"] for model in folder["models"]]


def test_list_for_a_person_marks_what_is_configured(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == ExitCode.OK

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{url}  for phi3, llama31"
    assert lines[1].startswith("* phi3:mini ")
    assert lines[2].startswith("  stray:1b ")
    assert lines[3].split() == ["*", "llama3.1:8b", "missing", *["→", "llm-pool", "models", "pull", "llama3.1:8b"]]


def test_pull_fetches_what_is_configured_and_says_so_in_two_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal: a line at the start and one at the end of each."""
    assert run(["models", "pull"]) == ExitCode.OK
    out, err = capsys.readouterr()

    assert out == ""
    assert err.splitlines() == [
        line
        for model in ("phi3:mini", "llama3.1:8b")
        for line in (f"pulling {model} …", f"{model}: pulled and verified")
    ]
    assert run(["models", "list", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)[0]["missing"] == []


@pytest.mark.usefixtures("url")
def test_pull_draws_a_bar_with_speed_and_time_left(url: str, terminal: Start) -> None:
    screen = terminal("models", "pull", "new:7b")
    assert screen.end() == 0

    assert "pulling new:7b" in screen.screen
    assert " of 67.1 MB" in screen.screen
    assert screen.screen.endswith("new:7b: pulled and verified\r\n")


def test_a_pull_that_fails_does_not_keep_the_others_from_coming(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit by the first failure; with --json each model has its own end."""
    assert run(["models", "pull", "hf:nonsense", "phi3:mini", "--json"]) == ExitCode.USAGE

    failed, pulled = json.loads(capsys.readouterr().out)
    assert failed["error"]["code"] == "rejected"
    assert pulled == {"model": "phi3:mini", "place": url, "status": "pulled and verified"}


def test_pull_of_a_stopped_server_says_how_to_start_it(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("http://127.0.0.1:1", "phi3:mini")

    assert run(["models", "pull"]) == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err.splitlines()[1:] == [
        "error: nobody listens at 127.0.0.1:1",
        "hint: ollama serve",
    ]


def test_a_server_that_hangs_is_not_waited_for(
    configure: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing: each command says so and ends."""
    monkeypatch.setattr(model_stores, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        place = f"127.0.0.1:{hole.getsockname()[1]}"
        configure(f"http://{place}", "phi3:mini")

        assert run(["models", "show", "phi3:mini"]) != ExitCode.OK
        assert run(["models", "list"]) in {ExitCode.OK, ExitCode.UNAVAILABLE}

    told = capsys.readouterr()
    assert f"{place} says nothing for 0.2 s" in told.err
    assert "says nothing for 0.2 s" in told.out


def test_show_has_size_and_details(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "phi3:mini"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.startswith("name     phi3:mini\nplace    127.0.0.1:")
    assert "details.format" in out

    assert run(["models", "show", "phi3:mini", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["detail"]["details"]["format"] == "gguf"


def test_show_of_a_missing_model_says_how_to_get_it(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "show", "nope"]) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines()[-1] == "hint: llm-pool models pull nope"


@pytest.mark.parametrize("words", [("show",), ("rm", "--yes")])
def test_a_name_that_is_not_there_is_told_the_nearest(
    url: str, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert run(["models", words[0], "phi3:mni", *words[1:]]) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines()[-1] == "hint: did you mean phi3:mini?"


def test_list_has_the_models_of_other_servers_too(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """What such a server has not, it cannot be told to fetch."""
    with running_upstream("--model", "phi3:mini") as url:
        path = configure(url, "phi3:mini")
        other = f'[[providers]]\nname = "vllm"\ndriver = "openai"\nbase_url = "{url}/v1"\nmodel = "nope"\n'
        path.write_text(path.read_text(encoding="utf-8") + other, encoding="utf-8")
        assert run(["models", "list"]) == ExitCode.OK
        lines = capsys.readouterr().out.splitlines()
        assert run(["models", "pull", "nope", "--provider", "vllm"]) == ExitCode.USAGE

    assert f"{url}/v1  for vllm" in lines
    (missing,) = (number for number, line in enumerate(lines) if line.split() == ["*", "nope", "missing"])
    assert "pull nope" not in lines[missing + 1]
    assert "cannot pull nope" in capsys.readouterr().err


def test_rm_needs_a_yes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is there to ask: without --yes nothing happens."""
    assert run(["models", "rm", "stray:1b"]) == ExitCode.USAGE
    assert "--yes: remove stray:1b" in capsys.readouterr().err

    assert run(["models", "rm", "stray:1b", "--yes", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["removed"] == "stray:1b"
    assert run(["models", "show", "stray:1b"]) == ExitCode.USAGE


def test_a_broken_file_in_the_folder_can_be_removed(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Just those one wants to be rid of; it is found where it is, though no provider is configured for it."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mine.gguf").write_bytes(GGUF)

    assert run(["models", "rm", "mine", "--yes"]) == ExitCode.OK
    assert not (folder / "mine.gguf").exists()


def test_a_gguf_from_a_url_lands_in_the_folder_and_is_shown(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """From a plain file server, with its header read."""
    handler = partial(Quiet, directory=str(BUNDLED))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f"http://127.0.0.1:{server.server_port}/pocket-a.gguf"
        assert run(["models", "pull", source]) == ExitCode.OK
        assert run(["models", "pull", source]) == ExitCode.OK
        server.shutdown()
    assert capsys.readouterr().err.splitlines() == [
        "pulling pocket-a …",
        "pocket-a: pulled and verified",
        "pulling pocket-a …",
        "pocket-a: already here",
    ]

    assert run(["models", "show", "pocket-a", "--json"]) == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert (shown["place"], shown["detail"]["architecture"]) == (str(Path("models/pocket-a.gguf").absolute()), "llama")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_an_unknown_provider_is_named(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "pull", "x", "--provider", "phi"]) == ExitCode.USAGE
    assert capsys.readouterr().err == "error: --provider: 'phi' keeps no models of ours\nhint: did you mean phi3?\n"


ROOT = Path(__file__).parents[2]


def test_setup_models_is_clean_shell() -> None:
    """Not one remark from shellcheck."""
    done = subprocess.run(["shellcheck", str(ROOT / "setup-models.sh")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_setup_models_says_how_to_install_ollama_and_pulls(tmp_path: Path) -> None:
    """A machine without Ollama; llm-pool is played by echo."""
    done = subprocess.run(
        ["/bin/bash", str(ROOT / "setup-models.sh"), "phi3:mini"],
        env={"PATH": "/usr/bin:/bin", "LLM_POOL": "/bin/echo"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "models pull phi3:mini\n")
    assert "https://ollama.com/download" in done.stderr

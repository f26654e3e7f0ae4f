"""``llm-pool health``: a probe for people and scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.main import run
from llm_pool.testing.processes import running_upstream

Configure = Callable[..., Path]


@pytest.mark.usefixtures("config")
def test_healthy_providers_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)

    assert said["healthy"] is True
    assert {provider["state"] for provider in said["providers"]} == {"healthy"}


def test_each_state_has_the_next_command_to_type(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """Warming, and a model that is missing."""
    with running_upstream("--model", "phi3:mini", "--cold") as url:
        configure(url, "phi3:mini", "llama3.1:8b")
        assert run(["health"]) == ExitCode.OK

    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["phi3", "phi3:mini", "warming", "not", "loaded", "yet"],
        ["→", "llm-pool", "health", "--warm"],
        ["llama31", "llama3.1:8b", "model", "missing", "llama3.1:8b", "is", "not", "pulled"],
        ["→", "llm-pool", "models", "pull", "llama3.1:8b"],
    ]


def test_nobody_there_exits_69_at_once(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure("http://127.0.0.1:1", "phi3:mini")

    assert run(["health"]) == ExitCode.UNAVAILABLE
    assert capsys.readouterr().out.splitlines()[1].split() == ["→", "ollama", "serve"]


def test_warm_loads_and_wait_waits(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """Afterwards the model is in memory."""
    with running_upstream("--model", "phi3:mini", "--cold", "--load-time", "0.2") as url:
        configure(url, "phi3:mini")
        assert run(["health", "--warm", "--wait", "5s", "--json"]) == ExitCode.OK

    out, err = capsys.readouterr()
    assert err == "loading phi3:mini …\n"
    assert json.loads(out)["providers"][0]["state"] == "healthy"


def test_wait_gives_up_when_it_said(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure("http://127.0.0.1:1", "phi3:mini")

    began = time.monotonic()
    assert run(["health", "--wait", "600ms"]) == ExitCode.UNAVAILABLE

    assert 0.6 <= time.monotonic() - began < 3
    assert capsys.readouterr().err == "waiting up to 1 s for a provider …\n"


def test_trust_is_shown_and_forgotten(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What feedback taught; forgetting it goes back to the configured weights."""
    config.write_text(config.read_text(encoding="utf-8").replace("enabled = false", "enabled = true"), encoding="utf-8")
    question = '{"candidates":[{"id":"a","text":"4"},{"id":"b","text":"5"}],"query":"2+2?"}'
    asked = ["infer", "--no-stdin", question, "--task", "judge", "--strategy", "voting", "--request-id", "q7"]
    assert run([*asked, "-q"]) == ExitCode.OK
    assert run(["feedback", "q7", "good"]) == ExitCode.OK
    assert "noted" in capsys.readouterr().err

    assert run(["health", "--trust", "--json"]) == ExitCode.OK
    json.loads(capsys.readouterr().out)
    assert run(["health", "--reset-trust"]) == ExitCode.OK
    assert run(["health", "--trust"]) == ExitCode.OK
    assert "nothing learned yet" in capsys.readouterr().err


@pytest.mark.usefixtures("config")
def test_feedback_on_an_unknown_request_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["feedback", "nope", "bad"]) == ExitCode.USAGE
    assert "nope" in capsys.readouterr().err


POCKET = '[[providers]]\nname = "pocket"\ndriver = "llamacpp"\nmodel = "pocket-a"\nlast_resort = true\n'


@pytest.mark.parametrize(("words", "code"), [((), ExitCode.OK), (("--strict",), ExitCode.UNAVAILABLE)])
def test_a_last_resort_alone_does_not_count_where_one_is_strict(
    configure: Configure, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: ExitCode
) -> None:
    path = configure("http://127.0.0.1:1", "phi3:mini")
    path.write_text(path.read_text(encoding="utf-8") + POCKET, encoding="utf-8")

    assert run(["health", *words]) == code
    assert capsys.readouterr().err == "note: only providers of last resort can answer\n"


@pytest.mark.usefixtures("config")
def test_strict_is_content_with_a_provider_of_ones_own() -> None:
    assert run(["health", "--strict"]) == ExitCode.OK

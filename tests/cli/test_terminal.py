"""What happens where somebody looks: a terminal of our own (a pty)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_pool.testing.processes import running_upstream

Start = Callable[..., Any]
Configure = Callable[..., Path]


@pytest.mark.parametrize(("words", "shown"), [([], "0 s so far"), (["--deadline-ms", "20000"], "20 s left")])
def test_a_loading_model_is_named(words: list[str], shown: str, terminal: Start, configure: Configure) -> None:
    """With the time it has taken, or, where it counts, the time that is left; the line goes away when text comes."""
    with running_upstream("--model", "llama3.1:8b", "--cold", "--load-time", "0.8") as url:
        configure(url, "llama3.1:8b")
        screen = terminal("infer", "hello", *words)
        screen.wait_for(f"loading llama3.1:8b … {shown}")
        assert screen.end() == 0

    assert screen.shown() == ["llama3.1:8b heard: hello"]


@pytest.mark.parametrize("words", [["--quiet"], []])
def test_nothing_moves_for_the_quiet_and_the_dumb(words: list[str], terminal: Start, configure: Configure) -> None:
    """``--quiet``, and a terminal that cannot redraw a line."""
    with running_upstream("--model", "llama3.1:8b", "--cold", "--load-time", "0.3") as url:
        configure(url, "llama3.1:8b")
        screen = terminal("infer", "hello", *words, TERM="xterm" if words else "dumb")
        assert screen.end() == 0

    assert screen.screen == "llama3.1:8b heard: hello\r\n"


@pytest.mark.usefixtures("config")
def test_json_is_indented_for_a_person_and_a_line_for_a_pipe(terminal: Start) -> None:
    """Both parse; a pipe gets no colour whatever stderr is."""
    person = terminal("infer", "hello", "--json")
    assert person.end() == 0
    piped = terminal("infer", "hello", "--json", pipe_out=True)
    assert piped.end() == 0
    line = piped.process.stdout.read()

    assert '\r\n  "content": "phi3:mini heard: hello",\r\n' in person.screen
    assert json.loads(person.screen)["content"] == json.loads(line)["content"]
    assert line.count(b"\n") == 1
    assert piped.screen == ""


@pytest.mark.usefixtures("config")
def test_colour_where_somebody_looks(terminal: Start) -> None:
    """NO_COLOR and TERM=dumb are heard."""
    assert "\x1b[32mok\x1b[0m" in _explained(terminal)
    assert "\x1b[32m" not in _explained(terminal, NO_COLOR="1")
    assert "\x1b" not in _explained(terminal, TERM="dumb")


@pytest.mark.usefixtures("config")
def test_an_expected_question_is_asked_for_and_not_waited_for(terminal: Start) -> None:
    """Nothing is piped and nothing typed: an example, at once."""
    screen = terminal("infer")
    assert screen.end(5.0) == 2
    assert 'llm-pool infer "Is 17 prime?"' in screen.screen


@pytest.mark.usefixtures("config")
def test_a_batch_shows_how_far_it_is(terminal: Start, tmp_path: Path) -> None:
    """On stderr; stdout has the answers alone, in order."""
    (tmp_path / "in.jsonl").write_text("\n".join(f'"q{number}"' for number in range(5)), encoding="utf-8")

    screen = terminal("infer", "--input", "in.jsonl", pipe_out=True)
    assert screen.end() == 0

    out = [json.loads(line)["content"] for line in screen.process.stdout.read().splitlines()]
    assert out == [f"phi3:mini heard: q{number}" for number in range(5)]
    assert "5 of 5" in screen.screen
    assert screen.screen.endswith("5 answered, 0 failed\r\n")


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(("typed", "said"), [("y\n", "removed mine"), ("\n", "nothing removed")])
def test_removing_a_model_asks_first(typed: str, said: str, terminal: Start, tmp_path: Path) -> None:
    """Only a yes is a yes."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mine.gguf").write_bytes(_GGUF)

    screen = terminal("models", "rm", "mine", "--provider", "pocket", "--config", str(_with_engine(tmp_path)))
    screen.wait_for("remove mine (24 B) from ")
    screen.wait_for("[y/N]")
    screen.type(typed)
    assert screen.end() == 0

    assert said in screen.screen
    assert (folder / "mine.gguf").exists() is (typed == "\n")


_GGUF = b"GGUF\x03\x00\x00\x00" + bytes(16)
"""The header of an empty GGUF file."""


def _with_engine(folder: Path) -> Path:
    path = folder / "engine.toml"
    path.write_text('[[providers]]\nname = "pocket"\ndriver = "llamacpp"\nmodel = "pocket-a"\n', encoding="utf-8")
    return path


def _explained(terminal: Start, **variables: str) -> str:
    screen = terminal("infer", "hello", "--explain", **variables)
    assert screen.end() == 0
    return str(screen.screen)

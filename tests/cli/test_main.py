"""The root: help, usage errors, and how errors are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from llm_pool.cli import main
from llm_pool.cli.commands import COMMANDS, load_command, root_command
from llm_pool.cli.drawing import drawn
from llm_pool.cli.exit_codes import ExitCode, exit_code_for
from llm_pool.cli.help_page import help_page
from llm_pool.cli.main import run
from llm_pool.core import errors
from llm_pool.core.errors import LlmPoolError
from llm_pool.core.messages import Attempt


def commands() -> list[click.Context]:
    """Every command as it is typed."""
    root = click.Context(root_command(), info_name="llm-pool")
    found: list[click.Context] = []
    for name in COMMANDS:
        command = load_command(name)
        context = click.Context(command, parent=root, info_name=name)
        if isinstance(command, click.Group):
            found += [click.Context(child, parent=context, info_name=key) for key, child in command.commands.items()]
        else:
            found.append(context)
    return found


@pytest.mark.parametrize("context", commands(), ids=lambda context: context.command_path)
def test_every_command_says_what_it_does_with_examples_and_has_the_same_manners(context: click.Context) -> None:
    """Help is the first thing people read, and its first lines the most."""
    page = drawn(help_page(context), color=False, width=80)
    about, _, rest = page.partition("╭─ Examples ")

    assert context.command.help
    assert " ".join(context.command.help.split()) in " ".join(about.split())
    assert context.command_path in rest
    assert max(map(len, page.splitlines())) <= 80
    for name in ("--config", "--json", "--color", "--no-color", "--quiet", "--help"):
        assert name in rest.partition("Options of every command")[2]
    for param in context.command.params:
        assert getattr(param, "help", None), f"{param.name} does not say what it is"


@pytest.mark.parametrize("words", [[], ["-h"], ["infer", "--help"], ["infer", "a", "-h"], ["models"], ["config", "-h"]])
def test_help_goes_to_stdout_and_exits_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == ExitCode.OK
    out, err = capsys.readouterr()
    assert "Usage: llm-pool" in out
    assert err == ""


def test_root_help_lists_every_command_and_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[1] for line in lines if line.startswith("│ ")}
    assert set(COMMANDS) <= shown
    assert 24 <= len(lines) <= 40


def test_the_exit_codes_have_a_page_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """One table of exit codes, in code; help prints it."""
    assert run(["help", "exit-codes"]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [f"{code.value:>3}  {code.meaning}" for code in ExitCode]

    assert run(["help", "exit-codes", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)[0] == {"code": 0, "meaning": ExitCode.OK.meaning}


@pytest.mark.parametrize("words", [["infer"], ["models", "pull"], []])
def test_help_of_a_command_is_its_page(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", *words]) == ExitCode.OK
    page = capsys.readouterr().out
    assert run([*words, "--help"]) == ExitCode.OK
    assert capsys.readouterr().out == page


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "mine.toml", "config", "path"],
        ["config", "-c", "mine.toml", "path"],
        ["config", "path", "-c", "mine.toml"],
        ["--config=other.toml", "config", "path", "--config=mine.toml"],
    ],
)
def test_what_every_command_takes_may_stand_before_it_or_after(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The last one counts."""
    Path("mine.toml").touch()
    assert run([*words, "-q"]) == run(["-q", *words]) == ExitCode.OK
    assert capsys.readouterr() == ("mine.toml\nmine.toml\n", "")


@pytest.mark.parametrize("words", [["--no-color"], ["--color", "never"], ["--color=never"]])
def test_no_colour_where_none_is_wanted(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In help and in errors too, before the command and after it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(["--help"])
    assert "\x1b[" in capsys.readouterr().out

    run([*words, "--help"])
    run(["infr", *words])
    run([*words, "infr"])
    assert "\x1b" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["infr"], ["llm-pool: there is no command 'infr'", "did you mean infer?"]),
        (["models", "lst"], ["llm-pool models: there is no command 'lst'", "did you mean list?"]),
        (["--verison"], ["--verison: there is no such option", "did you mean --version?"]),
        (["infer", "--taks", "x"], ["--taks: there is no such option", "did you mean --task?"]),
        (["infer", "--taks=x"], ["--taks: there is no such option", "did you mean --task?"]),
        (["infer", "a", "b"], ["'b': one word too many", "quote words that belong together"]),
        (["infer", "--task"], ["--task: expected one argument", "llm-pool infer --help"]),
        (["infer", "--deadline-ms", "soon"], ["--deadline-ms: expected a number, got 'soon'", "llm-pool infer --help"]),
        (["infer", "--deadline-ms", "nan"], ["--deadline-ms: expected a number, got 'nan'", "llm-pool infer --help"]),
        (
            ["infer", "--max-tokens", "0"],
            ["--max-tokens: expected a whole number from 1 to 1000000, got '0'", "llm-pool infer --help"],
        ),
        (
            ["health", "--wait", "a bit"],
            ["--wait: expected a time such as 500ms, 30s or 2m, got 'a bit'", "llm-pool health --help"],
        ),
        (["feedback", "r1", "fine"], ["VERDICT: expected good or bad, got 'fine'", "llm-pool feedback --help"]),
        (["feedback"], ["REQUEST_ID: it is missing", "llm-pool feedback --help"]),
        (
            ["infer", "x", "--strategy", "fastets"],
            [
                "strategy: expected FASTEST, VOTING, WEIGHTED, CONSENSUS or JUDGE, got 'fastets'",
                "did you mean FASTEST?",
            ],
        ),
    ],
)
def test_a_usage_error_names_the_word_and_the_way_out(
    words: list[str], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two lines on stderr, nothing on stdout, exit 2."""
    assert run(words) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"error: {said[0]}", f"hint: {said[1]}"]


def test_with_json_an_error_is_one_json_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Data alone goes to stdout; the code is in the line as well."""
    assert run(["infer", "--deadline-ms", "soon", "--json"]) == ExitCode.USAGE

    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "error": {
            "code": "invalid_request",
            "message": "--deadline-ms: expected a number, got 'soon'",
            "field": "--deadline-ms",
            "hint": "llm-pool infer --help",
            "exit_code": 2,
        }
    }


def test_every_mistake_of_a_configuration_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever command reads it."""
    Path("llm-pool.toml").write_text("[qos]\nhedge = 'x'\nmax_deadline = 1\n", encoding="utf-8")

    assert run(["infer", "hello"]) == ExitCode.CONFIG
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" expected ")[0] for line in lines if line.startswith("error:")] == [
        f"error: {Path.cwd()}/llm-pool.toml:2: qos.hedge:",
        f"error: {Path.cwd()}/llm-pool.toml:3: qos.max_deadline:",
    ]

    assert run(["infer", "hello", "--json"]) == ExitCode.CONFIG
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["line"], told["exit_code"], [other["line"] for other in told["also"]]) == (2, 78, [3])


def test_a_bug_is_one_line_and_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The traceback is in a file, whose name is printed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(main, "root_command", lambda: 1 // 0)

    assert run(["infer", "x"]) == ExitCode.BUG

    out, err = capsys.readouterr()
    assert out == ""
    first, hint = err.splitlines()
    assert first == "error: a bug in llm-pool: ZeroDivisionError: integer division or modulo by zero"
    assert "Traceback" in Path(hint.removeprefix("hint: please report it with ")).read_text(encoding="utf-8")


def _leaves(kind: type[LlmPoolError]) -> list[type[LlmPoolError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _leaves(child))]


@pytest.mark.parametrize("kind", [kind for kind in _leaves(LlmPoolError) if kind is not LlmPoolError])
def test_every_error_has_an_exit_code(kind: type[LlmPoolError]) -> None:
    """Whoever adds an error says how a command ends with it."""
    error: Any = kind.__new__(kind)
    error.attempts = ()

    assert exit_code_for(error) not in {ExitCode.OK, ExitCode.BUG}


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ([], ExitCode.UNAVAILABLE),
        (["unreachable", "unreachable"], ExitCode.UNAVAILABLE),
        (["bad_reply", "bad_reply"], ExitCode.PROTOCOL),
        (["failed", "failed"], ExitCode.BROKEN),
        (["busy", "queue_full"], ExitCode.TEMPORARY),
        (["failed", "busy"], ExitCode.UNAVAILABLE),
    ],
)
def test_what_all_providers_failed_with_decides_the_code(kinds: list[str], code: ExitCode) -> None:
    """Whether to repair, to wait or to change the question is worth telling apart."""
    attempts = [
        Attempt(provider="p", model="m", outcome="failed", started=0, duration=0, error_kind=kind) for kind in kinds
    ]
    assert exit_code_for(errors.AllProvidersFailed("ask", attempts)) is code

"""The Tab key: the words, Typer's scripts, and the three shells themselves."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from hypothesis import given
from hypothesis import strategies as st
from typer._completion_shared import get_completion_script

from llm_pool.cli.commands import COMMANDS, root_command
from llm_pool.cli.completion import VARIABLE, joined_words

ROOT = Path(__file__).parents[2]
SHELLS = {"bash": "bash", "zsh": "zsh", "fish": "fish", "powershell": "ps1"}
"""Each shell that Typer knows, with the ending of its file."""
TASKS = [
    "ask",
    "enrich_metadata",
    "expand_queries",
    "judge",
    "recovery_plan",
    "rerank_candidates",
    "site_tactics",
]
STRATEGIES = ["fastest", "voting", "weighted", "consensus", "judge"]

pytestmark = pytest.mark.usefixtures("config")


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


def completed(words: list[str]) -> dict[str, str]:
    """What the last of *words* may become, with what it means."""
    *typed, last = words
    found = ShellComplete(root_command(), {}, "llm-pool", VARIABLE).get_completions(typed, last)
    return {item.value: item.help or "" for item in found}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], list(COMMANDS)),
        (["in"], ["infer"]),
        (["infer", "--task", ""], TASKS),
        (["infer", "-t", "re"], ["recovery_plan", "rerank_candidates"]),
        (["infer", "--task=re"], ["recovery_plan", "rerank_candidates"]),
        (["infer", "hello", "-s", ""], STRATEGIES),
        (["infer", "-s", "vo"], ["voting"]),
        (["infer", "--dea"], ["--deadline-ms"]),
        (["infer", "--input", ""], []),
        (["infer", "--color", "a"], ["auto", "always"]),
        (["-c", "x.toml", "infer", "--dea"], ["--deadline-ms"]),
        (["models", ""], ["list", "pull", "show", "rm"]),
        (["models", "show", ""], ["gemma2:9b", "llama3.1:8b", "phi3:mini"]),
        (["models", "pull", "phi3:mini", "ge"], ["gemma2:9b"]),
        (["models", "pull", "--provider", ""], ["phi3", "llama31", "gemma2"]),
        (["bench", "--strategy", ""], ["all", *STRATEGIES]),
        (["config", "explain", "qos.hedge_"], ["qos.hedge_after_ms"]),
        (["help", "exit"], ["exit-codes"]),
        (["feedback", ""], []),
        (["feedback", "r1", "g"], ["good"]),
        (["feedback", "--color", "never", "r1", "g"], ["good"]),
        (["config", "check", ""], []),
        (["infer", ""], []),
        (["infer", "--max-tokens", ""], []),
    ],
)
def test_what_may_stand_at_the_cursor(words: list[str], found: list[str]) -> None:
    """Commands, options, and names from the configuration; where there is none, the shell completes file names."""
    assert list(completed(words)) == found


def test_a_configuration_with_a_mistake_completes_nothing_and_says_nothing(config: Path) -> None:
    """A completion is no place to complain."""
    config.write_text("[", encoding="utf-8")
    assert completed(["infer", "--task", ""]) == {}


def test_options_and_commands_come_with_their_meaning() -> None:
    """Shells that show it, show it."""
    assert completed(["bench", "--dur"]) == {"--duration": "begin requests for so long, e.g. 30s"}
    assert completed(["heal"]) == {"health": COMMANDS["health"]}


@given(st.lists(st.text("ab-", min_size=1), min_size=1, max_size=4), st.sampled_from(":="))
def test_what_bash_took_apart_is_put_together(parts: list[str], mark: str) -> None:
    """A word with colons or equal signs, between two others."""
    split = [word for part in parts for word in (mark, part)][1:]
    assert joined_words(["show", *split, "x"][:-1]) == ["show", mark.join(parts)]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_files_in_the_repository_are_typers_scripts(shell: str) -> None:
    """Packagers take them; ``_LLM_POOL_COMPLETE=source_SHELL llm-pool`` writes one anew."""
    script = get_completion_script(prog_name="llm-pool", complete_var=VARIABLE, shell=shell)
    written = subprocess.run(
        [sys.executable, "-m", "llm_pool"],
        env=os.environ | {VARIABLE: f"source_{shell}"},
        capture_output=True,
        text=True,
        check=True,
    )
    file = ROOT / "completions" / f"llm-pool.{SHELLS[shell]}"
    assert file.read_text(encoding="utf-8") == written.stdout == f"{script}\n"


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``llm-pool`` as the shells find it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llm-pool"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_pool "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@needs("bash")
@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("llm-pool hea", "llm-pool health "),
        ("llm-pool infer --task=exp", "llm-pool infer --task=expand_queries "),
        ("llm-pool models show phi3:m", "llm-pool models show phi3:mini "),
        ("llm-pool infer -s v", "llm-pool infer -s voting "),
        ("llm-pool config check llm-po", "llm-pool config check llm-pool.toml "),
    ],
)
def test_bash_completes(line: str, wanted: str, tmp_path: Path) -> None:
    """Also after ``=``, within names with a colon, which bash takes apart, and file names."""
    shell = Shell(["bash", "--norc", "-i"], tmp_path)
    shell.type(f'bind "set bell-style none"; source "{ROOT}/completions/llm-pool.bash"; echo rea""dy\n')
    shell.wait_for("ready")

    shell.type(f"{line}\t")
    shell.wait_for(wanted)
    shell.close()


@needs("fish")
@pytest.mark.usefixtures("on_path")
def test_fish_completes() -> None:
    lines = ["llm-pool hea", "llm-pool infer --task exp", "llm-pool models show phi3:m"]
    script = f'source "{ROOT}/completions/llm-pool.fish"\n' + "\n".join(f'complete -C "{line}"' for line in lines)

    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [f"health\t{COMMANDS['health']}", "expand_queries", "phi3:mini"]


@needs("zsh")
@pytest.mark.usefixtures("on_path")
@pytest.mark.parametrize(
    ("line", "wanted"),
    [("llm-pool hea", "llm-pool health "), ("llm-pool models show phi3:m", "models show phi3:mini ")],
)
def test_zsh_completes(line: str, wanted: str, tmp_path: Path) -> None:
    """At a prompt of its own, with the Tab key."""
    shell = Shell(["zsh", "-f", "-i"], tmp_path)
    shell.type(f'autoload -U compinit; compinit -D -u; source "{ROOT}/completions/llm-pool.zsh"; echo rea""dy\n')
    shell.wait_for("ready")

    shell.type(f"{line}\t")
    shell.wait_for(wanted)
    shell.close()


@pytest.mark.usefixtures("on_path")
def test_a_shell_installs_its_script(tmp_path: Path) -> None:
    """``--install-completion`` finds the shell it is typed in."""
    done = subprocess.run(
        ["bash", "--norc", "-c", "llm-pool --install-completion; true"],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "bash completion installed in" in done.stdout
    installed = tmp_path / ".bash_completions" / "llm-pool.sh"
    assert installed.read_text(encoding="utf-8").strip() == (ROOT / "completions/llm-pool.bash").read_text().strip()


class Shell:
    """An interactive shell without anybody's settings."""

    def __init__(self, words: list[str], home: Path) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(words[0], words, os.environ | {"TERM": "dumb", "ZDOTDIR": str(home), "HOME": str(home)})
        self._seen = ""

    def type(self, text: str) -> None:
        self._seen = ""
        os.write(self._fd, text.encode())

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + 10
        while text not in self._seen and select.select([self._fd], [], [], max(0.0, until - time.monotonic()))[0]:
            self._seen += os.read(self._fd, 65536).decode(errors="replace")
        assert text in self._seen

    def close(self) -> None:
        os.close(self._fd)
        os.waitpid(self._pid, 0)

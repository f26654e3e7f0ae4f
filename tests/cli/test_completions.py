"""The Tab key: the words, the scripts, and the three shells themselves."""

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

from llm_pool.cli.completions import SCRIPTS
from llm_pool.cli.main import COMMANDS
from llm_pool.cli.shell_completion import complete

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], list(COMMANDS)),
        (["in"], ["infer"]),
        (["nope", ""], []),
        (["infer", "--task", ""], TASKS),
        (["infer", "-t", "re"], ["recovery_plan", "rerank_candidates"]),
        (["infer", "--task=re"], ["--task=recovery_plan", "--task=rerank_candidates"]),
        (["infer", "hello", "-s", ""], STRATEGIES),
        (["infer", "-s", "VO"], ["voting"]),
        (["infer", "--dea"], ["--deadline-ms"]),
        (["infer", "--input", ""], [":files"]),
        (["infer", "--color", "a"], ["auto", "always"]),
        (["models", ""], ["list", "pull", "show", "rm"]),
        (["models", "show", ""], ["gemma2:9b", "llama3.1:8b", "phi3:mini"]),
        (["models", "pull", "phi3:mini", "ge"], ["gemma2:9b"]),
        (["models", "pull", "--provider", ""], ["phi3", "llama31", "gemma2"]),
        (["bench", "--strategy", ""], ["all", *STRATEGIES]),
        (["config", "explain", "qos.hedge_"], ["qos.hedge_after_ms"]),
        (["completions", ""], ["bash", "zsh", "fish"]),
        (["feedback", ""], []),
        (["feedback", "r1", "g"], ["good"]),
        (["feedback", "--color", "never", "r1", "g"], ["good"]),
        (["feedback", "r1", "good", ""], []),
        (["config", "check", ""], [":files"]),
        (["infer", ""], []),
        (["infer", "--max-tokens", ""], []),
    ],
)
def test_what_may_stand_at_the_cursor(words: list[str], found: list[str]) -> None:
    """Commands, options, and names from the configuration."""
    assert [word.text for word in complete(words)] == found


def test_a_configuration_with_a_mistake_completes_nothing_and_says_nothing(config: Path) -> None:
    """A completion is no place to complain."""
    config.write_text("[", encoding="utf-8")
    assert complete(["infer", "--task", ""]) == []


def test_options_and_commands_come_with_their_meaning() -> None:
    """Shells that show it, show it."""
    assert complete(["bench", "--dur"])[0].meaning == "begin requests for so long, e.g. 30s"
    assert complete(["heal"])[0].meaning == COMMANDS["health"]


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_the_files_in_the_repository_are_what_the_command_prints(shell: str) -> None:
    """Packagers take the files; ``llm-pool completions SHELL > completions/llm-pool.SHELL`` renews one."""
    assert (ROOT / "completions" / f"llm-pool.{shell}").read_text(encoding="utf-8") == SCRIPTS[shell]


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``llm-pool`` as the shells find it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "llm-pool"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m llm_pool "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_bash_script_is_clean_shell() -> None:
    done = subprocess.run(
        ["shellcheck", str(ROOT / "completions" / "llm-pool.bash")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@needs("bash")
@pytest.mark.usefixtures("on_path")
def test_bash_completes() -> None:
    """Also after ``=`` and within names with a colon, which bash takes apart."""
    lines = ["llm-pool hea", "llm-pool infer --task=exp", "llm-pool models show phi3:m", "llm-pool infer -s v"]
    script = f'source "{ROOT}/completions/llm-pool.bash"\n' + "\n".join(
        f'COMP_LINE="{line}" COMP_POINT={len(line)}; _llm_pool; echo "${{COMPREPLY[*]}}"' for line in lines
    )

    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["health", "expand_queries", "mini", "voting"]


@needs("fish")
@pytest.mark.usefixtures("on_path")
def test_fish_completes() -> None:
    lines = ["llm-pool hea", "llm-pool infer --task exp", "llm-pool models show phi3:m"]
    script = f'source "{ROOT}/completions/llm-pool.fish"\n' + "\n".join(f'complete -C "{line}"' for line in lines)

    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == [f"health\t{COMMANDS['health']}", "expand_queries", "phi3:mini"]


@needs("zsh")
@pytest.mark.usefixtures("on_path")
def test_zsh_completes(tmp_path: Path) -> None:
    """At a prompt of its own, with the Tab key."""
    screen = Zsh(tmp_path)
    screen.type(f'autoload -U compinit; compinit -D -u; source "{ROOT}/completions/llm-pool.zsh"; echo rea""dy\n')
    screen.wait_for("ready")

    screen.type("llm-pool hea\t")
    screen.wait_for("llm-pool health ")
    screen.type("\x15llm-pool models show phi3:m\t")
    screen.wait_for("show phi3:mini")
    screen.close()


class Zsh:
    """An interactive zsh without anybody's settings."""

    def __init__(self, home: Path) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], os.environ | {"TERM": "dumb", "ZDOTDIR": str(home)})
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

"""
What a start costs: CPU of a command line as a multiple of ``python -c pass``.

::

    .venv/bin/python bench/startup.py            # prints the table
    .venv/bin/python bench/startup.py --write    # and keeps it in bench/results/startup.md

Each command runs as an installed program, with its bytecode cached, one after the other in turns, so that a busy
moment of the machine meets all of them. CPU is user plus system time of the process as the kernel counts it; what
the scripted upstream spends is another process's. Exit 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from llm_pool.testing.processes import running_upstream

TURNS = 31
HERE = Path(__file__).parent
NOTES = (
    "`infer` asks a plain question of the scripted upstream with the configuration that is shipped; the upstream's own",
    "time is another process's and not in it. Half of it is `import asyncio`, a sixth msgspec, a twelfth Typer. `llm`",
    "is simonw's, asked the same of the same upstream; `infer` is to take at most a seventh (docs/decisions/0004).",
)
BOUNDS = {"llm-pool --version": 3.0, "llm-pool --help": 18.0, "llm-pool infer": 12.0}
"""Times ``python -c pass``."""
PEER = "llm prompt"
"""simonw's ``llm`` (the extra ``bench``), asked the same question of the same upstream where it is installed."""
SHARE = 1 / 7
"""Of the peer's CPU, what ``llm-pool infer`` may take."""


WORDS = ("_LLM_POOL_COMPLETE=complete_bash", "COMP_WORDS=llm-pool\ninfer\n--task\n", "COMP_CWORD=3")


def peer(program: Path, url: str, folder: Path) -> dict[str, list[str]]:
    """The peer's command, where it is installed, with the upstream as a model of its own."""
    if not program.exists():
        return {}
    model = f"- model_id: bench\n  model_name: phi3:mini\n  api_base: {url}/v1\n"
    (folder / "extra-openai-models.yaml").write_text(model, encoding="utf-8")
    (folder / "keys.json").write_text('{"openai": "none"}', encoding="utf-8")
    return {PEER: [str(program), "-m", "bench", "--no-log", "Is 17 prime?"]}


def cpu(words: list[str], env: dict[str, str]) -> float:
    """Milliseconds of CPU that the command *words* takes."""
    actions = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    pid = os.posix_spawn(words[0], words, env, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} exits {os.waitstatus_to_exitcode(status)}")
    return 1000 * (used.ru_utime + used.ru_stime)


def measured(cases: dict[str, list[str]], env: dict[str, str]) -> dict[str, list[float]]:
    """*TURNS* measurements of each case, after two that only fill the caches."""
    for words in [*cases.values(), *cases.values()]:
        cpu(words, env)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(TURNS):
        for name, words in cases.items():
            found[name].append(cpu(words, env))
    return found


def table(found: dict[str, list[float]]) -> list[str]:
    """A Markdown table of medians, lowest values and multiples."""
    middle = {name: statistics.median(values) for name, values in found.items()}
    base, low = middle["python -c pass"], min(found["python -c pass"])
    rows = ["| command | CPU, median | lowest | times `pass` | of the lowest | bound |", "|---|---|---|---|---|---|"]
    for name, values in found.items():
        bound = f"{BOUNDS[name]:g}" if name in BOUNDS else ""
        rows.append(
            f"| `{name}` | {middle[name]:.1f} ms | {min(values):.1f} ms | **{middle[name] / base:.1f}** "
            f"| {min(values) / low:.1f} | {bound} |"
        )
    return rows


def main() -> int:
    """Measure, print, perhaps keep; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    program = str(Path(sys.executable).with_name("llm-pool"))
    with tempfile.TemporaryDirectory() as folder, running_upstream("--model", "phi3:mini") as url:
        config = Path(folder) / "llm-pool.toml"
        shipped = (HERE.parent / "llm-pool.toml").read_text(encoding="utf-8")
        config.write_text(shipped.replace("http://127.0.0.1:11434", url), encoding="utf-8")
        env = {"PATH": os.environ["PATH"], "HOME": folder, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        env |= {"LLM_POOL_CONFIG": str(config), "LLM_POOL_STATE": f"{folder}/state"}
        cases = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "llm-pool --version": [program, "--version"],
            "llm-pool --help": [program, "--help"],
            "Tab after `infer --task`": ["/usr/bin/env", *WORDS, program],
            "llm-pool infer": [program, "infer", "--no-cache", "Is 17 prime?"],
            "python -c 'import asyncio'": [sys.executable, "-c", "import asyncio"],
        }
        cases |= peer(Path(program).with_name("llm"), url, Path(folder))
        env["LLM_USER_PATH"] = folder
        found = measured(cases, env)
    rows = table(found)
    print("\n".join(rows))
    if args.write:
        (HERE / "results" / "startup.md").write_text(page(rows), encoding="utf-8")
    middle = {name: statistics.median(values) for name, values in found.items()}
    broken = any(middle[name] > bound * middle["python -c pass"] for name, bound in BOUNDS.items())
    return int(broken or middle["llm-pool infer"] > SHARE * middle.get(PEER, math.inf))


def page(rows: list[str]) -> str:
    """The page of results."""
    machine = f"{os.cpu_count()} vCPU, CPython {platform.python_version()}"
    date = dt.datetime.now(tz=dt.UTC).date().isoformat()
    lines = ["# What a start costs", "", f"{date}, {machine}. `python bench/startup.py --write`, which says how.", ""]
    return "\n".join([*lines, *rows, "", *NOTES]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

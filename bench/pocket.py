"""
What the bundled models are worth, each alone and together: held-out inputs of the six tasks through the real pool.

Every answer comes from llama.cpp in a process of its own. WEIGHTED and JUDGE trust what they learned from feedback on
other inputs, given first. ``--write`` puts the table into ``bench/results/pocket.md`` and into the README.

``--declined`` measures only what is declined, of the foreign inputs of ``bench/data/foreign.jsonl`` and of the models'
own; with it ``--write`` puts that alone into its part of the results, and into the model card.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeAlias

from llm_pool.config import parse
from llm_pool.core.messages import StrategyName
from llm_pool.engine.composition import open_app
from llm_pool.providers.gguf import BUNDLED
from llm_pool.providers.llamacpp import VOCABULARIES
from llm_pool.providers.vocabulary import read_vocabularies
from llm_pool.tasks import load_task, prepare
from tools.pocket.check import ask, check, configured, inputs, is_right, pool_of
from tools.pocket.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.engine.composition import App
    from tools.pocket.check import Report
    from tools.pocket.oracle import Example

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "results" / "pocket.md"
README = ROOT / "README.md"
FOREIGN = ROOT / "bench" / "data" / "foreign.jsonl"
CARD = ROOT / "docs" / "models" / "pocket.md"
DECLINED = re.compile(r"(<!-- declined: made by bench/pocket.py -->\n)(.*?)(<!-- end of declined -->)", re.DOTALL)
BLOCK = re.compile(r"(<!-- pocket: made by bench/pocket.py -->\n)(.*?)(<!-- end of pocket -->)", re.DOTALL)

Reports: TypeAlias = "dict[str, dict[str, Report]]"
"""By task, then by who answered: a model's name or a strategy's."""


def main() -> None:
    """Measure, print, and with ``--write`` keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=300, help="inputs of each task")
    parser.add_argument("--lessons", type=int, default=100, help="inputs of each task to give feedback on before")
    parser.add_argument("--declined", action="store_true", help="only what is declined")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.declined:
        print(declined_table(options.count))
        if options.write:
            _keep_declined(options.count)
        return
    models = {path.stem: path for path in sorted(BUNDLED.glob("pocket-*.gguf"))}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LLM_POOL_STATE"] = folder  # what is learned here is forgotten
        seconds, megabytes = asyncio.run(loading(models))
        reports = asyncio.run(measured(models, count=options.count, lessons=options.lessons))
    loaded = f"All loaded in {seconds:.2f} s, in {megabytes:.0f} MB of memory of three processes."
    print(loaded)
    rows = table(reports, [*models, *StrategyName])
    print(rows)
    if options.write:
        kept = DECLINED.search(RESULT.read_text("utf-8"))
        assert kept is not None
        told = f"{_head(options.count, options.lessons)} {loaded}\n\n{rows}\n\n{kept[0]}\n"
        RESULT.write_text(told, encoding="utf-8")
        _keep_declined(options.count)
        README.write_text(BLOCK.sub(lambda found: f"{found[1]}{rows}\n{found[3]}", README.read_text("utf-8")), "utf-8")
    sys.exit(0 if all(report.valid == 1 for by in reports.values() for report in by.values()) else 1)


async def loading(models: Mapping[str, Path]) -> tuple[float, float]:
    """Seconds from nothing to all of *models* loaded, and what their processes hold then, in MB; Linux."""
    async with open_app(parse(configured(models), Path("llm-pool.toml"))) as app:
        began = time.perf_counter()
        await app.warm()
        seconds = time.perf_counter() - began
        return seconds, _held() / 1e6


def _held() -> int:
    """Bytes of memory that our worker processes hold."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()
    found = (re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{child}/status").read_text("utf-8")) for child in children)
    return sum(int(one[1]) * 1000 for one in found if one)


async def measured(models: Mapping[str, Path], *, count: int, lessons: int) -> Reports:
    """All reports of *models* and of the strategies over them."""
    async with pool_of(models) as app:
        for task, examples in inputs(count=lessons, seed=7).items():
            print(f"feedback on {lessons} inputs of {task}", file=sys.stderr, flush=True)
            await _teach(app, examples)
        reports: Reports = {}
        for task, examples in inputs(count=count, seed=99).items():
            ways: dict[str, dict[str, Any]] = {name: {"providers": (name,)} for name in models} | {
                str(s): {"strategy": s} for s in StrategyName
            }
            reports[task] = {}
            for who, asked in ways.items():
                reports[task][who] = report = await check(app, examples, **asked)
                print(f"{who:10} {report.line()}", file=sys.stderr, flush=True)
        return reports


async def _teach(app: App, examples: Sequence[Example]) -> None:
    """Ask all models, and say of each answer whether it was right."""
    assert app.learning is not None
    for number, one in enumerate(examples):
        request = f"{one.task}-{number}"
        answer = await ask(app, one, strategy=StrategyName.VOTING, request_id=request)
        if answer is not None:
            await app.learning.feedback(request, "", good=is_right(one, answer))


def table(reports: Reports, who: Sequence[str]) -> str:
    """Markdown: a row for each measure of each task, a column for each model and strategy, the best in bold."""
    lines = [f"| task | measure | {' | '.join(who)} |", "|---|---" + "|---:" * len(who) + "|"]
    for task, by in reports.items():
        for name in filter(_is_told, by[who[0]].measures):
            best = max(by[one].measures[name] for one in who)
            cells = (_cell(by[one].measures[name], best) for one in who)
            lines.append(f"| {task} | {name} | {' | '.join(cells)} |")
    valid = (min(by[one].valid for by in reports.values()) for one in who)
    calls = (fmean(by[one].calls for by in reports.values()) for one in who)
    times = (median(each for by in reports.values() for each in by[one].times) for one in who)
    lines.append(f"| the worst task | valid by schema | {' | '.join(f'{share:.0%}' for share in valid)} |")
    lines.append(f"| all | calls for an answer | {' | '.join(f'{count:.1f}' for count in calls)} |")
    lines.append(f"| all | median time, ms | {' | '.join(f'{each * 1e3:.0f}' for each in times)} |")
    return "\n".join(lines)


def foreign() -> dict[str, list[str]]:
    """By task, the inputs of ``bench/data/foreign.jsonl``: what the bundled models were not taught."""
    found: dict[str, list[str]] = {}
    for line in FOREIGN.read_text("utf-8").splitlines():
        one = json.loads(line)
        found.setdefault(one["task"], []).append(one["prompt"])
    return found


def declined(task: str, prompts: Sequence[str]) -> float:
    """The share of *prompts* that a bundled model declines."""
    vocabulary = read_vocabularies(BUNDLED / VOCABULARIES)[task]
    loaded = load_task(task, [ROOT / "prompts"])
    return fmean(not vocabulary.covers(prepare(loaded, prompt).input) for prompt in prompts)


def declined_table(count: int) -> str:
    """Markdown: by task, how much is declined of the foreign inputs, and of *count* inputs of its own."""
    strange, own = foreign(), inputs(count=count, seed=99)
    lines = ["| task | foreign inputs | declined | own inputs | declined |", "|---|---:|---:|---:|---:|"]
    for task in MEASURES:
        mine = [one.case.text for one in own[task]]
        of_both = f"{declined(task, strange[task]):.1%} | {len(mine)} | {declined(task, mine):.1%}"
        lines.append(f"| {task} | {len(strange[task])} | {of_both} |")
    return "\n".join(lines)


def _keep_declined(count: int) -> None:
    """Write what is declined today into the results and the model card."""
    told = (
        f"## What they decline\n\n`python -m bench.pocket --declined --write`, {datetime.now(UTC).date()}. Foreign:\n"
        "`bench/data/foreign.jsonl`, written by hand beside the rule, many with some words of the world; a few\n"
        "have no other, and those are answered. Own: held-out inputs.\n\n"
        f"{declined_table(count)}\n"
    )
    for page in (RESULT, CARD):
        page.write_text(DECLINED.sub(lambda found: f"{found[1]}{told}{found[3]}", page.read_text("utf-8")), "utf-8")


def _is_told(measure: str) -> bool:
    """The measures by kind of input are for whoever trains."""
    return not measure.startswith(("by ", "tau by "))


def _cell(value: float, best: float) -> str:
    told, most = (f"{number:.2f}" for number in (value, best))
    return f"**{told}**" if told == most else told


def _head(count: int, lessons: int) -> str:
    return (
        "# The pocket models, alone and together\n\n"
        f"`python -m bench.pocket --write`, {datetime.now(UTC).date()}, CPython {platform.python_version()}, "
        f"{os.cpu_count()} {platform.machine()} cores. {count} held-out inputs of each task, asked through the pool; "
        f"WEIGHTED and JUDGE learned before from feedback on {lessons} others of each. Shares of right answers, "
        "and Kendall's tau."
    )


if __name__ == "__main__":
    main()

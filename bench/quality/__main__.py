"""
What each strategy is worth on recorded answers of real models.

    python -m bench.quality [ANSWERS.jsonl] [--seeds N] [--upstream N]

Each line of the file is a question: ``id``, ``bench``, ``gold``, and per model its ``raw`` answer, the
``answer_key`` that a lenient parser found, and whether it is ``correct``. Scripted providers say the raw answers;
reading, agreement, trust and the strategies are the engine's own. Nothing is judged on rows that it learned from:
the file is halved at random, trust is learned on one half and used on the other, both ways round, for each seed.

N questions go through the whole pool as well, over real sockets. Ends with 1 if one of them is decided otherwise.

::

    recorded: a line ─▶ Question, read by the engine        learning: Trust from other rows
    rules: a strategy ─▶ percent right                      judging: JUDGE with a simulated judge
    report: the tables                                      upstream: the whole pool, over sockets
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.quality import upstream
from bench.quality.recorded import load
from bench.quality.report import report
from llm_pool.testing import VirtualLoop

if TYPE_CHECKING:
    from bench.quality.upstream import Verdicts

SAMPLE = Path(__file__).parents[1] / "data" / "quality_sample.jsonl"


def main() -> int:
    """Print the report; 1 if the whole pool decides otherwise than the rules alone."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=(__doc__ or "").splitlines()[1])
    parser.add_argument("answers", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--seeds", type=int, default=5, help="random halvings")
    parser.add_argument("--upstream", type=int, default=60, metavar="N", help="questions for the whole pool")
    options = parser.parse_args()
    lines = options.answers.read_text(encoding="utf-8").splitlines()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        text, verdicts = runner.run(_measured(lines, options.seeds, options.upstream))
    print(text)
    if not options.upstream:
        return 0
    found = asyncio.run(upstream.replayed(options.answers, verdicts))
    asked = len(verdicts.questions)
    same = ", ".join(f"{strategy} {count}" for strategy, count in found.items())
    print(f"\nThe whole pool over sockets, verdicts equal to those of the rules alone, of {asked}: {same}.")
    return 0 if all(count == asked for count in found.values()) else 1


async def _measured(lines: list[str], seeds: int, sample: int) -> tuple[str, Verdicts]:
    questions = await load(lines)
    return await report(questions, seeds), await upstream.expected(questions, sample)


if __name__ == "__main__":
    sys.exit(main())

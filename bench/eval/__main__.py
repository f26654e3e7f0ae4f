"""
Whether `llm-pool eval` recommends what is best on questions that it has not seen, and whether its intervals hold.

    python -m bench.eval [ANSWERS.jsonl] [--draws N] [--labels N]

ANSWERS.jsonl is a file as for ``bench.quality``: real answers of real models with gold. A scripted upstream serves
them over sockets, and every provider is asked every question by the recorder of `llm-pool eval`. Then, for each draw,
so many questions are evaluated as a person would, and what it says is compared with all the others. Ends with 1 if a
recommendation is more than a point worse than the best one in hindsight on average over the draws of a task, or if an
interval of 95 percent over all tasks holds in fewer than 90 of 100 draws.

::

    served: upstream, recorder ─▶ Answers        draws: evaluate, then the others with the trust that was learned
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.eval.draws import measured
from bench.eval.report import is_kept, report
from bench.eval.served import recorded
from llm_pool.testing import VirtualLoop

SAMPLE = Path(__file__).parents[1] / "data" / "quality_sample.jsonl"


def main() -> int:
    """Print the report; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.eval", description=(__doc__ or "").splitlines()[1])
    parser.add_argument("answers", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--labels", type=int, default=100, help="questions of a draw, of all tasks together")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        config, answers = asyncio.run(recorded(options.answers, Path(folder)))
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            draws = runner.run(measured(config, answers, options.draws, options.labels))
    print(report(draws, options.labels))
    return 0 if is_kept(draws) else 1


if __name__ == "__main__":
    sys.exit(main())

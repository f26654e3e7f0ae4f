r"""
What each repair recovers from recorded answers.

::

    python bench/repair.py [PATH]          # default: bench/data/repair_sample.jsonl, made by us

Each line of *PATH* is a question with the raw answers of some models: ``bench``, and ``models`` by name with
``raw``, the ``answer_key`` that another lenient parser found (null: none), and whether that is ``correct``.

Three tables: how many answers each repair reads and how many of these are right; how many equal the key; and what
is made of the same answers when they are cut short: what the whole says, or what it said before it corrected itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_pool import agreement
from llm_pool.agreement import canonical
from llm_pool.reading import Unreadable, read

if TYPE_CHECKING:
    from llm_pool.core.messages import FinishReason, Reading

SAMPLE = Path(__file__).parent / "data" / "repair_sample.jsonl"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["answer"],
    "properties": {
        "reasoning": {"type": "string"},
        "answer": {"type": ["string", "number", "boolean", "array", "object", "null"]},
    },
}
REPAIRS = (
    "strict",
    "extracted",
    "newlines",
    "backslashes",
    "tolerant",
    "closed",
    "fields",
    "stated",
    "coerced",
)
CUTS = 8
"""Places at which each answer is cut, evenly spaced."""


@dataclass(frozen=True)
class Row:
    """One answer of one model, and what was read of it."""

    bench: str
    model: str
    raw: str
    key: str | None
    correct: bool
    reading: Reading | None
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether what was read is what the key says."""
        return self.reading is not None and self.key is not None and same(self.reading.value["answer"], self.key)

    @property
    def is_lost(self) -> bool:
        """Whether it is right, and could not be read; blanks and answers that break off may be lost."""
        return self.correct and self.key is not None and self.reading is None


def same(answer: Any, key: str) -> bool:
    """
    Whether *answer* is what *key* was made of.

    The key is normalised: ``s:`` before text without spaces, numbers as decimals, only the first or last number of
    a longer text, sets sorted.
    """
    if agreement.same(canonical(answer), canonical(key)) or _bare(str(answer)) == _bare(key.removeprefix("s:")):
        return True
    numbers = re.findall(r"-?\d[\d,]*\.?\d*", str(answer))
    return any(agreement.same(canonical(number), canonical(key)) for number in (*numbers[:1], *numbers[-1:]))


def _bare(text: str) -> str:
    return re.sub(r"[^a-z0-9.-]", "", text.lower().replace("\\n", ""))


def _read(raw: str, finish: FinishReason = "stop") -> Reading | None:
    try:
        return read(raw, schema=SCHEMA, kind="value", field="answer", finish=finish)
    except Unreadable:
        return None


def load(path: Path) -> list[Row]:
    """Every answer in *path*, read."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        for model, said in question["models"].items():
            began = time.perf_counter()
            reading = _read(said["raw"])
            spent = time.perf_counter() - began
            rows.append(
                Row(question["bench"], model, said["raw"], said["answer_key"], bool(said["correct"]), reading, spent)
            )
    return rows


def by_repair(rows: list[Row]) -> list[str]:
    """Read and right answers for each repair, model by model."""
    groups = sorted({(row.bench, row.model) for row in rows})
    lines = [
        "| repair | " + " | ".join(f"{bench} {model.split('-Instruct')[0]}" for bench, model in groups) + " | all |",
        "|---|" + "---:|" * (len(groups) + 1),
    ]
    for repair in (*REPAIRS, "unread"):
        cells = [_cell([row for row in rows if (row.bench, row.model) == group], repair) for group in groups]
        lines.append(f"| {repair} | {' | '.join(cells)} | {_cell(rows, repair)} |")
    return lines


def _cell(rows: list[Row], repair: str) -> str:
    if repair == "unread":
        return str(sum(row.reading is None for row in rows))
    mine = [row for row in rows if row.reading is not None and row.reading.repair == repair]
    return f"{len(mine)} / {sum(row.agrees and row.correct for row in mine)}" if mine else "·"


def against_key(rows: list[Row]) -> list[str]:
    """How the readings compare with the file's own keys."""
    keyed = [row for row in rows if row.key is not None]
    unkeyed = [row for row in rows if row.key is None]
    unread = [row for row in keyed if row.reading is None]
    lost = sum(row.is_lost for row in rows)
    right = [row for row in keyed if row.correct]
    return [
        f"answers {len(rows)}, with a key {len(keyed)}: read {len(keyed) - len(unread)}, right ones lost {lost}",
        f"equal to the key: {sum(row.agrees for row in keyed)}; of the {len(right)} right ones, "
        + str(sum(row.agrees for row in right)),
        f"without a key {len(unkeyed)}: read {sum(row.reading is not None for row in unkeyed)}",
    ]


def when_cut(rows: list[Row]) -> str:
    """What is read of answers that the token limit cut."""
    found: Counter[str] = Counter()
    for row in rows:
        if row.reading is None:
            continue
        for part in range(1, CUTS):
            cut = _read(row.raw[: len(row.raw) * part // CUTS], "length")
            found["cut"] += 1
            if cut is not None:
                found["read"] += 1
                found["different"] += cut.value["answer"] != row.reading.value["answer"]
    return f"cut short {found['cut']}: read {found['read']}, of these different from the whole {found['different']}"


def speed(rows: list[Row]) -> str:
    """Microseconds per answer."""
    spent = sorted(row.seconds * 1e6 for row in rows)
    median, p99 = spent[len(spent) // 2], spent[len(spent) * 99 // 100]
    return f"microseconds per answer: median {median:.0f}, p99 {p99:.0f}"


def main() -> int:
    """Print the tables; 1 if a right answer was lost."""
    parser = argparse.ArgumentParser(description="What each repair recovers.")
    parser.add_argument("path", nargs="?", type=Path, default=SAMPLE)
    rows = load(parser.parse_args().path)
    print("Answers read / of these right, by repair\n")
    print("\n".join(by_repair(rows)), end="\n\n")
    print("\n".join((*against_key(rows), when_cut(rows), speed(rows))))
    print(f"Python {platform.python_version()}, {platform.machine()}")
    return int(any(row.is_lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""
How often what the agreement rules call the same is the same, and how much of what is they see.

    python -m bench.agreement [PAIRS.jsonl] [--errors]

Each line of the file is a pair: its ``kind`` (``text`` or ``value``), ``what`` it is about, ``one``, ``other``, and
whether they say the ``same``. Ends with 1 if fewer than 99 of 100 pairs that are called the same are. ``--errors``
lists the pairs on which rule and file differ.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from llm_pool import agreement
from llm_pool.agreement.texts import NEAR, profile, similarity

OURS: Final = Path(__file__).with_name("pairs.jsonl")
PROMISED: Final = 0.99
"""Of the pairs that are called the same, those that are."""


class Pair(msgspec.Struct, frozen=True):
    """Two answers, and whether they say the same."""

    kind: str
    what: str
    same: bool
    one: str
    other: str

    @property
    def verdict(self) -> agreement.Sameness:
        """What the rule says; of values it always knows."""
        if self.kind == "text":
            return agreement.compare(self.one, self.other)
        return "same" if agreement.same(agreement.canonical(self.one), agreement.canonical(self.other)) else "different"

    @property
    def is_near(self) -> bool:
        """What a threshold on character n-grams says."""
        return similarity(profile(self.one), profile(self.other)) >= NEAR


def main() -> int:
    """Print the tables; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=(__doc__ or "").splitlines()[1])
    parser.add_argument("pairs", nargs="?", type=Path, default=OURS)
    parser.add_argument("--errors", action="store_true", help="list the pairs on which rule and file differ")
    options = parser.parse_args()
    pairs = [msgspec.json.decode(line, type=Pair) for line in options.pairs.read_bytes().splitlines() if line]
    print(report(pairs))
    for pair in pairs if options.errors else ():
        if (pair.verdict == "same") != pair.same:
            print(f"{pair.kind}, {pair.what}: {pair.verdict}, but same is {pair.same}: {pair.one!r} / {pair.other!r}")
    return 0 if all(precision(some) >= PROMISED for some in by_kind(pairs).values()) else 1


def by_kind(pairs: list[Pair]) -> dict[str, list[Pair]]:
    """Texts and values apart."""
    return {kind: mine for kind in ("text", "value") if (mine := [pair for pair in pairs if pair.kind == kind])}


def precision(pairs: list[Pair]) -> float:
    """Of the pairs that the rule calls the same, the share that are; 1.0 where there are none."""
    called = [pair.same for pair in pairs if pair.verdict == "same"]
    return sum(called) / len(called) if called else 1.0


def report(pairs: list[Pair]) -> str:
    """The tables as Markdown."""
    lines = ["| | pairs | called the same | of these right | of the same found |", "|---|---|---|---|---|"]
    for kind, mine in by_kind(pairs).items():
        lines.append(_row(kind, mine, [pair.verdict == "same" for pair in mine]))
        if kind == "text":
            lines.append(_row("text, by n-grams as before", mine, [pair.is_near for pair in mine]))
    lines += [
        "",
        "| kind | about | they say the | pairs | same | different | unclear |",
        "|---|---|---|---|---|---|---|",
    ]
    parts = Counter((pair.kind, pair.same, pair.what) for pair in pairs)
    for (kind, same, what), count in sorted(parts.items()):
        found = Counter(pair.verdict for pair in pairs if (pair.kind, pair.same, pair.what) == (kind, same, what))
        truth = "same" if same else "contrary"
        lines.append(
            f"| {kind} | {what} | {truth} | {count} | {found['same']} | {found['different']} | {found['unclear']} |"
        )
    return "\n".join(lines)


def _row(name: str, pairs: list[Pair], called: list[bool]) -> str:
    right = sum(pair.same for pair, is_called in zip(pairs, called, strict=True) if is_called)
    same = sum(pair.same for pair in pairs)
    share = f"{100 * right / sum(called):.1f} %" if any(called) else "-"
    return f"| {name} | {len(pairs)} | {sum(called)} | {share} | {right} of {same}, {100 * right / same:.1f} % |"


if __name__ == "__main__":
    sys.exit(main())

"""The report as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from llm_pool.evaluation.report import COLUMNS, METHODS, cells, facts, grader_sentence, sections, title, verdict

if TYPE_CHECKING:
    from llm_pool.evaluation.evaluate import Evaluation, Section

_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]<>()#+!|&~]")


def as_markdown(evaluation: Evaluation) -> str:
    """The whole report; names of models and tasks, which are others' words, are escaped."""
    lines = ["# Which model, which strategy", ""]
    for section in sections(evaluation):
        lines += _section(section)
    judge = grader_sentence(evaluation.judging.judge, evaluation.grader)
    if judge:
        lines += [_escaped(judge), ""]
    lines += ["## How it was measured", "", *(f"- {method}" for method in METHODS)]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    header = [*COLUMNS]
    return [
        f"## {_escaped(title(section))}",
        "",
        f"**{_escaped(verdict(section))}**",
        "",
        " ".join(_escaped(fact) for fact in facts(section)),
        "",
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * (len(header) - 1)}",
        *(f"| {' | '.join(_escaped(cell) for cell in cells(row))} |" for row in section.rows),
        "",
    ]


def _escaped(text: str) -> str:
    """*text* on one line, in which no character means anything to Markdown or HTML; brackets of ours stay readable."""
    one_line = " ".join(text.split())
    return _SPECIAL.sub(lambda found: found[0] if found[0] in "()+" else f"\\{found[0]}", one_line)

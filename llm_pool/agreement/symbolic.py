"""
Formulas that computer algebra finds equal, for the extra ``math``; a program, so that it can be killed.

    echo '["(x+1)^2", "x^2+2x+1", "x"]' | python -m llm_pool.agreement.symbolic     prints [[0, 1], [2]]

``math-verify`` reads LaTeX by a grammar, nothing is evaluated as Python, and compares with sympy. A comparison may take
any time and memory: the caller ends the process, and the process limits its own memory.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MEMORY: Final = 2**30
"""Bytes of address space that the process allows itself."""

_FUNCTION: Final = re.compile(r"(?<![A-Za-z\\])(pi|theta|alpha|beta|sin|cos|tan|ln|log|exp)(?![a-z])")
_ROOT: Final = re.compile(r"(?<![\\a-z])sqrt\(([^()]*)\)")
_RAISED: Final = re.compile(r"\^\(([^()]*)\)|\^(\w+)")
_SIGNS: Final = (("<=", r"\leq "), (">=", r"\geq "), ("!=", r"\neq "), ("inf", r"\infty "), ("*", r"\cdot "))


def latex(formula: str) -> str:
    """The LaTeX of *formula* as ``expressions.spelling`` spells it."""
    formula = _RAISED.sub(lambda match: f"^{{{match[1] or match[2]}}}", _ROOT.sub(r"\\sqrt{\1}", formula))
    for sign, command in _SIGNS:
        formula = formula.replace(sign, command)
    return _FUNCTION.sub(r"\\\1 ", formula)


def partition(formulas: Sequence[str]) -> list[list[int]]:
    """Indices of *formulas* by equality: two are equal where each verifies the other."""
    from math_verify import LatexExtractionConfig, parse, verify

    def equal(one: Any, other: Any) -> bool:
        return bool(verify(one, other, timeout_seconds=None)) and bool(verify(other, one, timeout_seconds=None))

    def read(formula: str) -> Any:
        return parse(f"${latex(formula)}$", extraction_config=[LatexExtractionConfig()], parsing_timeout=None)

    parsed = [read(formula) for formula in formulas]
    groups: list[list[int]] = []
    for index, formula in enumerate(parsed):
        mine = next((group for group in groups if formula and equal(parsed[group[0]], formula)), None)
        if mine is None:
            groups.append([index])
        else:
            mine.append(index)
    return groups


def main() -> None:
    """Read formulas from standard input, print their partition."""
    logging.disable()
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    json.dump(partition(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()

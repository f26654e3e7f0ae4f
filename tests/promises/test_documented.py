"""docs/reliability.md names tests that exist, and every promise tested here."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_promise_names_its_tests() -> None:
    """Paths in the page are files; numbers of promises tested here are on the page."""
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|bench)/[\w/]+\.py)`", page)
    tested = {
        match.group(1) for f in Path(__file__).parent.glob("test_r*.py") if (match := re.search(r"_r(\d+)", f.name))
    }

    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert len(named) >= 20
    assert [number for number in tested if not re.search(rf"\bR{int(number)}\b", page)] == []

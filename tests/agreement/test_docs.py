"""docs/strategies.md says truly what counts as the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llm_pool import agreement
from llm_pool.agreement.keys import grouped

PAGE = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")


def rows(title: str) -> list[tuple[str, str, str]]:
    """The rows of the table under *title*: two answers, and what they are."""
    section = PAGE.partition(f"### {title}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \| (\w+) \|$", section, re.MULTILINE)


@pytest.mark.parametrize(("one", "other", "are"), rows("Values"))
def test_values_are_as_the_page_says(one: str, other: str, are: str) -> None:
    """Each row of its table."""
    assert agreement.same(agreement.canonical(one), agreement.canonical(other)) is (are == "same")


@pytest.mark.parametrize(("one", "other", "are"), rows("Free text"))
def test_texts_are_as_the_page_says(one: str, other: str, are: str) -> None:
    """Each row of its table."""
    assert agreement.compare(one, other) == are


def test_the_tables_are_there() -> None:
    """A page that lost its tables would pass all of the above."""
    assert len(rows("Values")) >= 25
    assert len(rows("Free text")) >= 10


def test_three_where_a_bare_number_may_mean_either() -> None:
    """``5 km``, ``5 m`` and ``5``."""
    assert len(grouped([agreement.canonical(value) for value in ("5 km", "5 m", "5")])) == 3

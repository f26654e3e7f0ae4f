from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.telemetry.labels import NONE, OTHER, BoundedLabels


@given(st.lists(st.text().filter(lambda value: value not in {NONE, OTHER})))
def test_there_are_never_more_names_than_allowed(values: list[str]) -> None:
    """A name that was given stays."""
    names = BoundedLabels(3)

    first = [names.name(value) for value in values]

    assert len(set(first) - {OTHER, NONE}) <= 3
    assert [names.name(value) for value in values if value in first and value] == [
        v for v in values if v in first and v
    ]


def test_nothing_has_a_name_too() -> None:
    """An empty label would be none at all."""
    assert BoundedLabels(3).name("") == NONE

"""Keys fall into groups in one way only, whatever their order."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.agreement.keys import Detail, Key, grouped, same
from llm_pool.agreement.values import canonical

details = st.lists(
    st.builds(Detail, st.sampled_from([(), (0,), (1,)]), st.sampled_from(["unit", "exact"]), st.sampled_from("ab")),
    max_size=3,
    unique_by=lambda detail: detail[:2],
).map(tuple)
keys = st.builds(Key, st.sampled_from([("number", "1"), ("number", "2")]), details, details)
ANSWERS = st.sampled_from(
    (
        *("5", "5 km", "5 m", "5.0", "x = 5", "y = 5", "$5", "five", "'5'", "a", "'a'", "'A'", "A", "no", "False"),
        *("'no'", "[1, 2]", "(1, 2)", "1, 2", "2, 1", "{2, 1}", "B. Obama", "B", "(B)"),
        *("3 March", "3 March 2020", "3 March 2021"),
    )
)


@given(st.lists(keys | ANSWERS.map(canonical), max_size=7), st.data())
def test_grouping_is_a_partition_that_no_order_changes(some: list[Key], data: st.DataObject) -> None:
    """Everybody is in one group, and a permutation of the answers is the same permutation of the groups."""
    order = data.draw(st.permutations(range(len(some))))

    plain = grouped(some)
    mixed = grouped([some[i] for i in order])

    assert sorted(i for group in plain for i in group) == list(range(len(some)))
    assert sorted(sorted(order[i] for i in group) for group in mixed) == plain


@given(st.lists(keys | ANSWERS.map(canonical), min_size=2, max_size=7))
def test_whoever_shares_a_group_is_the_same(some: list[Key]) -> None:
    """Within a group sameness is transitive: nobody in it differs from anybody else in it."""
    for group in grouped(some):
        assert all(same(some[i], some[j]) for i, j in combinations(group, 2))


@given(keys | ANSWERS.map(canonical), keys | ANSWERS.map(canonical))
def test_same_is_reflexive_and_symmetric(one: Key, other: Key) -> None:
    """As equality is."""
    assert same(one, one)
    assert same(one, other) == same(other, one)


def test_a_bare_number_agrees_with_one_unit_and_not_with_two() -> None:
    """Where two units are named nobody can say which the bare number means."""
    assert grouped([canonical(each) for each in ("5 km", "5", "5 kilometres")]) == [[0, 1, 2]]
    assert grouped([canonical(each) for each in ("5 km", "5", "5 m")]) == [[0], [1], [2]]


def test_quotation_marks_state_the_case_for_all() -> None:
    """Among bare words case is typography; beside a quoted one it counts."""
    assert grouped([canonical(each) for each in ("Abc", "abc")]) == [[0, 1]]
    assert grouped([canonical(each) for each in ("Abc", "abc", "'abc'")]) == [[0], [1, 2]]

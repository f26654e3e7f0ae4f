"""Sameness by shape of task, fields, rankings, texts, and what can be seen in an answer."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool import agreement
from llm_pool.agreement.grounding import grounding
from llm_pool.agreement.objects import Vote, comparable, field_agreement, merge, most_agreeing
from llm_pool.agreement.rankings import fuse, kendall_tau
from llm_pool.agreement.texts import centrality, groups, is_degenerate, phrase_similarity, profile, similarity
from llm_pool.core.messages import Reading, Task

VALUE = Task(name="sum", template="", kind="value", field="answer")
OBJECT = Task(name="tags", template="", kind="object")
TEXT = Task(name="ask", template="")


def said(value: object) -> Reading:
    return Reading(json.dumps(value), value)


def test_values_are_compared_by_the_named_field_only() -> None:
    """The reasoning may differ."""
    one, other = said({"reasoning": "a", "answer": "1,000"}), said({"reasoning": "b", "answer": 1000})

    assert agreement.key(VALUE, one) == agreement.key(VALUE, other)
    assert agreement.exact(VALUE, one) == agreement.exact(VALUE, other)


def test_a_schema_that_asks_for_a_share_makes_a_percentage_one() -> None:
    """50% is 0.5 of a number from 0 to 1, and 50 of any other."""
    share = {"properties": {"answer": {"minimum": 0, "maximum": 1}}}
    asked = Task(name="share", template="", kind="value", field="answer", output_schema=share)
    percent, half = said({"answer": "50%"}), said({"answer": 0.5})

    assert agreement.same(agreement.key(asked, percent), agreement.key(asked, half))
    assert not agreement.same(agreement.key(VALUE, percent), agreement.key(VALUE, half))


def test_options_that_the_question_offers_are_known_by_their_letter() -> None:
    """The clause behind the letter is cut, where it is an option and no initial."""
    question = "Who flew the kite?\nA. Obama\nB. Franklin\nC. Curie"
    one, other = said({"answer": "B. Franklin"}), said({"answer": "B. It was Franklin"})

    assert agreement.same(agreement.key(VALUE, one, question), agreement.key(VALUE, other, question))
    assert not agreement.same(agreement.key(VALUE, one), agreement.key(VALUE, other))


def test_texts_that_no_rule_can_tell_apart_are_named() -> None:
    """Those that contradict all others are not among them."""
    readings = [Reading(text, None) for text in ("The car is big.", "It takes 60 days.", "The car is large.")]

    assert agreement.unclear(TEXT, [*readings[:1], readings[2]]) == {0, 1}
    assert agreement.unclear(TEXT, [Reading("60 days", None), Reading("30 days", None)]) == set()
    assert agreement.unclear(VALUE, readings) == set()


def test_objects_are_compared_with_tags_in_any_order() -> None:
    """A list of tags is a set; a list of steps is not."""
    assert comparable({"tags": ["a", "B"]}) == comparable({"tags": ["b", "a"]})
    assert comparable({"steps": [{"n": 1}, {"n": 2}]}) != comparable({"steps": [{"n": 2}, {"n": 1}]})


def test_texts_nearly_the_same_fall_into_one_group() -> None:
    """A comma does not make another answer."""
    readings = [
        Reading("The sky is blue, mostly.", None),
        Reading("Buy a boat.", None),
        Reading("The sky is blue mostly", None),
    ]

    assert agreement.alike(TEXT, readings) == [[0, 2], [1]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=10), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_looking(edges: list[tuple[int, int]], rng: object) -> None:
    """Single link: the same partition whoever comes first."""
    linked = {frozenset(edge) for edge in edges}
    order = list(range(7))
    rng.shuffle(order)  # type: ignore[attr-defined]  # Hypothesis hands out a random.Random

    plain = groups(7, lambda i, j: frozenset((i, j)) in linked)
    mixed = groups(7, lambda i, j: frozenset((order[i], order[j])) in linked)

    assert sorted(plain) == sorted(sorted(order[i] for i in group) for group in mixed)


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_bounded(one: str, other: str) -> None:
    """1 for equal texts, whatever they hold."""
    a, b = profile(one), profile(other)

    assert similarity(a, b) == similarity(b, a)
    assert 0.0 <= similarity(a, b) <= 1.0
    assert similarity(a, a) == 1.0


def test_the_odd_text_out_is_the_least_central() -> None:
    """Two that agree are nearer to each other than to the third."""
    central = centrality(["Take the blue line north.", "Take the blue line to the north.", "Stay at home!"])

    assert min(central) == central[2]


def test_phrases_are_compared_whatever_their_word_order() -> None:
    """Search phrases have no grammar."""
    assert phrase_similarity("lounge video cinematic", "Cinematic lounge video") == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", True), ("...", True), ("I'm sorry, I can't.", True), ("the " * 40, True), ("42", False), ("a b " * 5, False)],
)
def test_degenerate_answers_are_told(text: str, *, expected: bool) -> None:
    """They would otherwise be each other's nearest neighbours."""
    assert is_degenerate(text) is expected


@pytest.mark.parametrize(
    ("value", "argument", "expected"),
    [
        ("1,200", "3 x 400 = 1200 dollars", "concludes"),
        (12, "12 boxes of 5 make 60", "mentions"),
        (7, "so 60", "absent"),
        (7, "no number at all", "absent"),
        ("'abc'", "it returns 'a' + 'bc', that is abc", "mentions"),
        ("xyz", "it returns abc", "absent"),
        ("", "nothing is left", "empty"),
    ],
)
def test_grounding_says_how_the_argument_carries_the_value(value: object, argument: str, expected: str) -> None:
    """An answer that its own reasoning never names is a slip or a guess."""
    assert grounding(value, argument) == expected


def test_evidence_is_form_and_grounding_of_a_value() -> None:
    """Other shapes give nothing away, and a bare value argues nothing."""
    assert agreement.evidence(VALUE, said({"reasoning": "2 + 2 = 4", "answer": "4"})) == (
        "form:integer",
        "grounded:concludes",
    )
    assert agreement.evidence(VALUE, said({"answer": "4"})) == ("form:integer",)
    assert agreement.evidence(OBJECT, said({"answer": "4"})) == ()


# Rankings


def test_tau_runs_from_one_to_minus_one() -> None:
    """Same order, reversed, and nothing to compare."""
    assert kendall_tau("abcd", "abcd") == 1.0
    assert kendall_tau("abcd", "dcba") == -1.0
    assert kendall_tau("a", "b") == 1.0


def test_fusion_follows_the_agreeing_voters() -> None:
    """Two who say the same outvote the third."""
    assert fuse(["bca", "bca", "acb"], [1, 1, 1], "abc")[0] == "b"


def test_fusion_breaks_ties_by_the_prior_order() -> None:
    """Nobody said anything: the input's order stands."""
    assert fuse([], [], "cab") == ["c", "a", "b"]
    assert fuse(["ab", "ba"], [1, 1], "ba") == ["b", "a"]


@given(st.lists(st.tuples(st.permutations("abcde"), st.floats(0.1, 5)), min_size=1, max_size=5), st.data())
def test_fusion_does_not_depend_on_the_order_of_voters(
    votes: list[tuple[list[str], float]], data: st.DataObject
) -> None:
    """Sums of floats in another order must not break a tie."""
    mixed = data.draw(st.permutations(votes))

    plain = fuse([ranking for ranking, _ in votes], [weight for _, weight in votes], "abcde")

    assert plain == fuse([ranking for ranking, _ in mixed], [weight for _, weight in mixed], "abcde")
    assert sorted(plain) == list("abcde")


# Objects

CARD = {
    "type": "object",
    "required": ["title", "tags"],
    "properties": {
        "title": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3},
        "score": {"type": "number"},
        "owner": {"type": "object"},
    },
}


def test_each_field_is_voted_on_its_own() -> None:
    """Nobody wrote this object, and each field of it has a majority."""
    votes = [
        Vote({"title": "Red", "tags": ["a", "b"], "score": 1, "owner": {"name": "x", "age": 4}}),
        Vote({"title": "red.", "tags": ["b", "c"], "score": 9, "owner": {"name": "y", "age": 4}}),
        Vote({"title": "Blue", "tags": ["c", "a"], "score": 3, "owner": {"name": "y", "age": 5}}),
    ]

    merged = merge(votes, CARD)

    assert merged == {"title": "Red", "tags": ["a", "b", "c"], "score": 3, "owner": {"name": "y", "age": 4}}


def test_a_field_few_have_is_dropped_unless_required() -> None:
    """One of three is no majority; a required field takes what there is."""
    votes = [
        Vote({"tags": ["a", "b"], "score": 1}),
        Vote({"tags": ["a", "b"]}),
        Vote({"title": "t", "tags": ["a", "b"]}),
    ]

    assert merge(votes, CARD) == {"tags": ["a", "b"], "title": "t"}


def test_tags_are_filled_up_to_what_the_schema_wants() -> None:
    """No tag has half of the votes, and two are needed: the earliest of the first provider."""
    votes = [Vote({"title": "t", "tags": [a, b]}) for a, b in ("ab", "cd", "ef")]

    assert merge(votes, CARD)["tags"] == ["a", "c"]


def test_numbers_take_the_weighted_median() -> None:
    """One heavy voter holds the middle; an outlier moves nothing."""
    assert merge([Vote({"n": 1}), Vote({"n": 1000}), Vote({"n": 2})], {})["n"] == 2
    assert merge([Vote({"n": 1}), Vote({"n": 1000}, count=5), Vote({"n": 2})], {})["n"] == 1000


def test_a_harvest_is_the_union_without_near_duplicates() -> None:
    """Search phrases: most votes first, as many as the longest list."""
    schema = {"properties": {"optional": {"type": "array", "items": {"type": "string"}}}}
    votes = [
        Vote({"optional": ["lounge video", "jazz bar"]}),
        Vote({"optional": ["video lounge", "chill out"]}),
        Vote({"optional": ["chill out", "sunset mix", "bar jazz", "lounge video"]}),
    ]

    assert merge(votes, schema)["optional"] == ["lounge video", "chill out", "jazz bar", "sunset mix"]


def test_the_most_agreeing_object_is_the_medoid() -> None:
    """Not the first, not the heaviest: the one nearest to all."""
    votes = [
        Vote({"a": 1, "b": 1}),
        Vote({"a": 2, "b": 2}, weight=9),
        Vote({"a": 1, "b": 2}),
    ]

    assert most_agreeing(votes) == 2
    assert field_agreement({"t": ["a", "b"]}, {"t": ["b", "c"]}) == pytest.approx(1 / 3)


scalars = st.one_of(st.sampled_from(["x", "X", "y", "long words here"]), st.integers(0, 3), st.booleans())
objects = st.fixed_dictionaries(
    {}, optional={"a": scalars, "b": st.lists(st.sampled_from("pqr")), "c": st.integers(0, 4)}
)


@given(st.lists(objects, min_size=1, max_size=4))
def test_merging_takes_every_field_from_somebody(values: list[dict[str, object]]) -> None:
    """Whatever is mixed, nothing is invented; and one voice alone is repeated as it is."""
    merged = merge([Vote(value) for value in values], {})

    for name, value in merged.items():
        if name == "b":
            assert all(any(item in v.get("b", []) for v in values) for item in value)
        else:
            assert any(v.get(name) == value for v in values)
    assert merge([Vote(values[0])], {}).keys() == values[0].keys()


def test_order_of_equal_voters_only_breaks_ties() -> None:
    """Where there is a majority, no permutation of the voters changes the merged object."""
    values = [{"k": "a", "n": 1}, {"k": "a", "n": 2}, {"k": "b", "n": 3}]

    assert {json.dumps(merge([Vote(v) for v in order], {}), sort_keys=True) for order in permutations(values)} == {
        '{"k": "a", "n": 2}'
    }

"""Free texts: same, different, or unclear."""

from __future__ import annotations

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.agreement.contradictions import compare
from llm_pool.agreement.keys import grouped
from llm_pool.agreement.wording import LONGEST, _wording, key

SAME = [
    ("The sky is blue, mostly.", "the sky is blue mostly"),
    ("The answer is **Paris**.", "Paris"),
    ("It's sixty days.", "60 days"),
    ("You shouldn't do it.", "You should not do it"),
    ("It costs 1,250 dollars.", "It costs $1250."),
    ("The road is 5km long.", "The road is 5 kilometres long."),
    ("It rose by 12%.", "It rose by 12 percent."),
    ("It opens on March 5, 2024 at 3 PM.", "It opens on 5 March 2024 at 15:00."),
    ("There are two hundred and five.", "There are 205."),
    ("1. Unplug it.\n2. Wait.", "- Unplug it.\n- Wait."),
    ("Sure! Use `sort`. I hope this helps!", "Use sort"),
    ("The U.S. agreed.", "The US agreed."),
    ("```python\nprint(1)\n```", "```\nprint(1)  \n```"),
]
DIFFERENT = [
    ("Refunds are accepted within 60 days.", "Refunds are accepted within 30 days."),
    ("It costs 1,250 dollars.", "It costs 1,350 dollars."),
    ("17 is prime.", "17 is not prime."),
    ("You should restart it.", "You shouldn't restart it."),
    ("The capital is Paris.", "The capital is Lyon."),
    ("Paris is the capital.", "Lyon is the capital."),
    ("Yes, it is.", "No, it is."),
    ("The dose is 50 mg.", "The dose is 50 g."),
    ("It ends on 3 March.", "It ends on 3 April."),
    ("Call `a.sort()`.", "Call `a.reverse()`."),
    ("Prices will increase.", "Prices will decrease."),
    ("It is -5 degrees.", "It is 5 degrees."),
    ("The domain is (1, 2).", "The domain is [1, 2]."),
    ("Write it in C++.", "Write it in C#."),
    ("It needs version 3.10.", "It needs version 3.1."),
    ("The bound is x > n.", "The bound is x < n."),
]
UNCLEAR = [
    ("The car is big.", "The car is large."),
    ("The dog bit the man.", "The man bit the dog."),
    ("He has few friends.", "He has a few friends."),
    ("Oslo is the capital of Norway.", "The capital of Norway is Oslo."),
    ("She told us.", "She told US."),
    ("We like Polish sausage.", "We like polish sausage."),
    ("Add Mg to it.", "Add mg to it."),
    ("30 days", "30 days, which is about a month"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_trifles_do_not_make_texts_differ(one: str, other: str) -> None:
    """Spaces, case, punctuation, Markdown, articles, politeness, and spelling of numbers, dates and units."""
    assert compare(one, other) == "same"


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_can_be_checked_makes_texts_differ(one: str, other: str) -> None:
    """However alike they are otherwise."""
    assert compare(one, other) == compare(other, one) == "different"


@pytest.mark.parametrize(("one", "other"), UNCLEAR)
def test_what_no_rule_can_tell_is_unclear(one: str, other: str) -> None:
    """Nothing to check: a reader has to say."""
    assert compare(one, other) == compare(other, one) == "unclear"


words = st.sampled_from(
    ("The", "a", "60", "sixty", "days", "not", "Paris", "paris", "US", "us", "`x`", "**bold**", "5km", "-", ".")
)
texts = st.lists(words, max_size=8).map(" ".join) | st.text(max_size=60)


@given(st.lists(texts, min_size=2, max_size=4))
def test_sameness_is_an_equivalence(some: list[str]) -> None:
    """Reflexive, symmetric, and within a group everybody is the same as everybody else."""
    assert compare(some[0], some[0]) == "same"
    assert compare(some[0], some[1]) == compare(some[1], some[0])
    for group in grouped([key(text) for text in some]):
        assert all(compare(some[i], some[j]) == "same" for i, j in combinations(group, 2))


@given(texts, st.integers(0, 10**6), st.integers(1, 10**6))
def test_another_number_is_never_the_same(text: str, number: int, more: int) -> None:
    """Whatever stands around it."""
    assert compare(f"{text} is {number} here", f"{text} is {number + more} here") != "same"


@given(st.text(min_size=LONGEST + 1, max_size=LONGEST + 5), st.text(max_size=3))
def test_of_long_texts_only_identical_ones_are_the_same(text: str, more: str) -> None:
    """Beyond what is looked at, nothing is guessed."""
    assert compare(text, text) == "same"
    assert (compare(text, text + more) == "same") == (text.split() == (text + more).split())


@pytest.mark.parametrize("piece", ["*", "`", "_", "1,", "1 ", "-", "*a ", "1. a\n", "½", "a=", "one ", "Mar 1 "])
def test_long_answers_of_strangers_are_read_in_linear_time(piece: str) -> None:
    """A model may write anything; twice as much takes about twice as long, not four times."""

    def took(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        _wording.__wrapped__(text)
        return time.process_time() - began

    half = min(took(LONGEST // 2) for _ in range(5))
    assert min(took(LONGEST) for _ in range(5)) < 3 * half + 0.002

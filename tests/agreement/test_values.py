"""When two values are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.agreement.keys import grouped, same
from llm_pool.agreement.values import LONGEST_LITERAL, canonical, form

SAME = [
    ("1,234", 1234, "1234.0", "$1,234", "1234 dollars", "\\$1{,}234", "\\boxed{1234}", "+1234", "1 234", "1'234"),
    ("1.234,5", 1234.5, "1,234.5", "1 234,5"),
    ("0.75", "3/4", "\\frac{3}{4}", "$\\dfrac34$", "(3)/(4)", 0.75, "¾"),
    ("2 1/2", 2.5, "2½", "2\\frac{1}{2}", "2.50"),
    ("1/3", 0.3333333333, "\\tfrac{1}{3}", "0.333333"),
    ("-7", "\u22127", -7, "x = -7", "$x=-7$", "\u20137"),
    ("90^\\circ", "90", "90\u00b0", "90 degrees"),
    ("5%", "5 \\%", "5 percent", 5),
    ("3 \\times 10^{4}", "30000", "3e4", "30 thousand", "3 \u00d7 10⁴"),
    ("10^6", 1000000, "10⁶", "1 million", "1 000 000", "10**6"),
    ("7 (seven)", "7", "seven", "Answer: 7", "___7___", "**7**", "The game lasted 7 minutes.", "= 7"),
    ("(B)", "B", "b", "B.", "Answer: B", "The answer is (B)", "\\text{(B)}", "Option B", "B) Paris", "B. Paris"),
    ("F", "The correct answer is (F), which includes both.", "(F)"),
    ("True", "true", True, "yes", "Yes."),
    ("None", None, "null"),
    ("[1, 2]", [1, 2], "[1,2]", "1, 2", "1 and 2"),
    ("(1, 2)", "(1,2)", "(1.0, 2)", "\\left(1, 2\\right)"),
    ("{'a': 1, 'b': [2]}", '{"b": [2], "a": 1}', {"b": [2], "a": 1}),
    ("{3, 1}", "{1, 3}", "\\{1, 3\\}", "3, 1"),
    ("2, -2", "-2, 2", "x = 2 or x = -2", "±2", "x = \\pm 2"),
    ("'abc'", '"abc"', "abc"),
    ("abc", " abc ", "Abc", "ABC", "`abc`", "abc."),
    ("2:00 pm", "2 pm", "14:00", "2:00 P.M."),
    ("05:00", "5:00", "5 a.m."),
    ("2024-03-05", "March 5, 2024", "5th of March 2024", "Tuesday, 5 Mar 2024", "5 March"),
    ("two  words", "Two Words", "two\nwords"),
    ("12 km/h", "12 kilometers per hour", "12", "12 kph"),
    ("12 m^2", "12 m²", "12 square meters"),
    ("12 cookies", "12 oatmeal cookies", 12),
    ("2\\sqrt{3}", "2√3", "2 * sqrt(3)", "sqrt(12)", "\\sqrt{12}", "$2\\sqrt3$"),
    ("11 + 7√3", "11+7√3", "11+7\\sqrt{3}", "7√3 + 11"),
    ("\\pi", "π", "pi"),
    ("\\frac{\\pi}{4}", "π/4", "0.25π"),
    ("x^2", "x²", "x**2", "x^{2}"),
    ("x>3", "x > 3", "$x > 3$"),
    ("x \\geq 3", "x >= 3", "x ≥ 3"),
    ("(3, \\infty)", "(3,∞)", "\\left(3, \\infty\\right)"),
    ("(-\\infty, 3] \\cup [5, \\infty)", "(\u2212∞,3]\u222a[5,∞)"),
    ("3\u20135", "3-5", "3 - 5"),
    ("\\frac{a}{b}", "a/b"),
]
DIFFERENT = [
    ("2\\pi", "2"),
    ("2x", "2"),
    ("5 or 6", "5"),
    ("pApA", "papA"),
    ("007", "7"),
    ("89abc", "89"),
    ("1,23", "123"),
    ("3:30", "330"),
    ("[1, 2]", "[2, 1]"),
    ("", "0"),
    ("True", "1"),
    ("$$$78", "78"),
    ("1000000000000000000000001", "1000000000000000000000002"),
    ("5 km", "5 m"),
    ("€5", "$5"),
    ("5 hours", "5 days"),
    ("30 apples", "30 pears"),
    ("60 km/h", "60 km"),
    ("5 MW", "5 mW"),
    ("50%", "0.5"),
    ("3:00 PM", "3"),
    ("3:00 PM", "3:00 AM"),
    ("'a'", "'A'"),
    ("'a  b'", "'a b'"),
    ("'a '", "'a'"),
    ("(1, 2)", "[1, 2]"),
    ("(1, 2]", "[1, 2)"),
    ("{'a': ['2']}", "{'a': [2]}"),
    ("[0, 2]", "['0', 2]"),
    (["1", "2"], [1, 2]),
    ("False", "'no'"),
    ("10²", "102"),
    ("3 March", "3 April"),
    ("3 March 2020", "3 March 2021"),
    ("(B) or (E)", "(B)"),
    ("B. Franklin", "B. Obama"),
    ("$12,345.67", "$12,345.74"),
    ("x = 5", "y = 5"),
    ("x = 2, y = 3", "x = 3, y = 2"),
    ("x > 3", "x < 3"),
    ("x > 3", "x >= 3"),
    ("x_1", "x_2"),
    ("5!", "5"),
    ("3+4", "7"),
    ("3 4", "34"),
    ("at least 53 minutes", "53"),
    ("The game did not last 53 minutes.", "53"),
    ("It is divisible by 7.", "7"),
    ("'[1]'", "[1]"),
]


@pytest.mark.parametrize("values", SAME, ids=str)
def test_same_values_fall_into_one_group(values: tuple[object, ...]) -> None:
    """Dressing, separators, notation, and what only one of two answers states do not make answers differ."""
    assert grouped([canonical(value) for value in values]) == [list(range(len(values)))]
    assert all(same(canonical(one), canonical(other)) for one, other in combinations(values, 2))


@pytest.mark.parametrize("values", DIFFERENT, ids=str)
def test_different_values_are_kept_apart(values: tuple[object, object]) -> None:
    """What looks alike and means something else."""
    assert not same(canonical(values[0]), canonical(values[1]))


def test_percent_is_a_share_only_where_a_share_is_asked_for() -> None:
    """50% of a number from 0 to 1 is 0.5."""
    assert same(canonical("50%", share=True), canonical(0.5, share=True))
    assert same(canonical("50%"), canonical("50"))


def test_a_letter_that_the_question_offers_is_an_option_with_its_clause_cut() -> None:
    """``B. Franklin`` is a name, unless B is on offer: then it is B, however it goes on."""
    offered = frozenset("ABC")

    assert same(canonical("B. Franklin", offered=offered), canonical("B. Benjamin Franklin", offered=offered))
    assert not same(canonical("B. Franklin"), canonical("B. Benjamin Franklin"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_every_value_has_a_hashable_sortable_key(value: object) -> None:
    """Whatever a model writes, there is a key for it, and the same one every time."""
    key = canonical(value)

    assert hash(key) == hash(canonical(value))
    assert sorted([key, key]) == [key, key]
    assert form(value)


@given(st.text("0123456789.,-+/eE$%\\{}()[]'\" xa_^:√π½²±km", max_size=40))
def test_no_text_breaks_the_rules(text: str) -> None:
    """Half-written numbers, LaTeX and literals are words, not errors; and a text is the same as itself."""
    assert same(canonical(text), canonical(text))


@given(st.integers(), st.sampled_from(["{}", "${}", "{} apples", "\\boxed{{{}}}", "x = {}", "{}.0", "\\text{{{}}}"]))
def test_a_number_is_the_same_however_it_is_dressed(number: int, dress: str) -> None:
    """The number decides, not its clothes."""
    assert same(canonical(dress.format(number)), canonical(number))


@given(st.integers(min_value=1000), st.sampled_from(", '_"))
def test_thousands_separators_do_not_matter(number: int, separator: str) -> None:
    """1,234,567 is 1234567."""
    assert same(canonical(f"{number:,}".replace(",", separator)), canonical(number))


@given(st.integers(-(10**12), 10**12))
def test_cents_count(cents: int) -> None:
    """No rounding takes a cent from an amount."""
    amount, more = (Decimal(each).scaleb(-2) for each in (cents, cents + 1))

    assert not same(canonical(f"{amount}"), canonical(f"{more}"))


@pytest.mark.parametrize("length", [LONGEST_LITERAL, 200_000])
@pytest.mark.parametrize(
    "piece", ["(", "[", "1,", "\\frac{", "\\boxed{", "**", "x = ", "1 000 ", "√", "½", "and ", "'"]
)
def test_long_answers_of_strangers_are_read_in_linear_time(piece: str, length: int) -> None:
    """A model may write anything; twice as much takes about twice as long, not four times."""

    def took(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        canonical(text)
        return time.process_time() - began

    half = min(took(length // 2) for _ in range(5))
    assert min(took(length) for _ in range(5)) < 3 * half + 0.002


def test_keys_do_not_depend_on_the_hash_seed() -> None:
    """The same key in every process: a repr of a set is not one."""
    program = "from llm_pool.agreement.values import canonical; print(canonical(\"{'b', 'a', 'c', 1}\"))"

    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(seen) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((7, "integer"), ("0.5", "decimal"), ("yes", "bool"), ("[1]", "list"), ("{1}", "set"), ("blue", "word")),
        *(("it depends", "prose"), ({"a": 1}, "map"), (None, "null"), ("5 March", "word")),
    ],
)
def test_form_names_the_kind_of_value(value: object, expected: str) -> None:
    """What trust learns of an answer's shape."""
    assert form(value) == expected
    assert form(json.loads(json.dumps(value))) == expected

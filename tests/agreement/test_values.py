"""Two values have one key exactly when they count as the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.agreement.values import canonical, form

SAME = [
    ("1,234", 1234, "1234.0", "$1,234", "1234 dollars", "\\$1{,}234", "\\boxed{1234}", "+1234"),
    ("0.75", "3/4", "\\frac{3}{4}", "$\\dfrac34$", "(3)/(4)", 0.75),
    ("1/3", 0.3333333333, "\\tfrac{1}{3}"),
    ("-7", "\u22127", -7, "x = -7", "$x=-7$"),
    ("90^\\circ", "90", "90\u00b0", "90 degrees"),
    ("5%", "5 \\%", "5 percent", 5),
    ("3 \\times 10^{4}", "30000", "3e4", "30 thousand"),
    ("(B)", "B", "b", "B.", "Answer: B", "The answer is (B)", "\\text{(B)}", "B. Paris"),
    ("True", "true", True, "yes", "Yes."),
    ("None", None, "null"),
    ("[1, 2]", "(1, 2)", [1, 2], "[1,2]", ["1", "2"]),
    ("{'a': 1, 'b': [2]}", '{"b": [2], "a": 1}', {"b": [2], "a": 1}),
    ("{3, 1}", "{1, 3}"),
    ("'abc'", '"abc"', "abc", " abc ", "Abc", "ABC", "`abc`", "abc."),
    ("2:00 pm", "2 pm", "2"),
    ("two  words", "Two Words", "two\nwords"),
    ("12 km/h", "12km", "12 m^2", "12 inches."),
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
]


@pytest.mark.parametrize("values", SAME, ids=str)
def test_same_values_have_one_key(values: tuple[object, ...]) -> None:
    """Dressing, units, separators, case and literal syntax do not make answers differ."""
    assert len({canonical(value) for value in values}) == 1


@pytest.mark.parametrize("values", DIFFERENT, ids=str)
def test_different_values_have_different_keys(values: tuple[object, object]) -> None:
    """What looks alike and means something else is kept apart."""
    assert canonical(values[0]) != canonical(values[1])


@pytest.mark.parametrize(("one", "other"), [("abc", "ABC"), ("a  b", "a b"), ("(1, 2)", "[1, 2]"), ("A", "a")])
def test_strict_keys_tell_wordings_apart(one: str, other: str) -> None:
    """A strict key keeps case, inner spaces, and the difference of list and tuple."""
    assert canonical(one) == canonical(other)
    assert canonical(one, strict=True) != canonical(other, strict=True)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_every_value_has_a_hashable_sortable_key(value: object) -> None:
    """Whatever a model writes, there is a key for it, and one with the same form every time."""
    key = canonical(value)

    assert hash(key) == hash(canonical(value))
    assert sorted([key, key]) == [key, key]
    assert form(value)


@given(st.text("0123456789.,-+/eE$%\\{}()[]'\" xa_^", max_size=40))
def test_no_text_breaks_the_rules(text: str) -> None:
    """Half-written numbers, LaTeX and literals are words, not errors."""
    assert canonical(text)
    assert canonical(text, strict=True)


@given(st.integers(), st.sampled_from(["{}", "${}", "{} apples", "\\boxed{{{}}}", "x = {}", "{}.0", "\\text{{{}}}"]))
def test_a_number_keeps_its_key_however_it_is_dressed(number: int, dress: str) -> None:
    """The number decides, not its clothes."""
    assert canonical(dress.format(number)) == canonical(number)


@given(st.integers(min_value=1000))
def test_thousands_separators_do_not_matter(number: int) -> None:
    """1,234,567 is 1234567."""
    assert canonical(f"{number:,}") == canonical(number)


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
    [(7, "integer"), ("0.5", "decimal"), ("yes", "bool"), ("[1]", "list"), ("blue", "word"), ("it depends", "prose")],
)
def test_form_names_the_kind_of_value(value: object, expected: str) -> None:
    """What trust learns of an answer's shape."""
    assert form(value) == expected
    assert form(json.loads(json.dumps(value))) == expected

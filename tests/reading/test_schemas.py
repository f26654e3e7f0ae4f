"""Schemas of strangers are bounded before they are compiled, and compiled ones in bytes."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.reading import Unreadable, read
from llm_pool.reading.schemas import compiled, fault, forget, is_too_much, validator
from llm_pool.reading.schemas.compiled import MAX_KEPT_BYTES
from llm_pool.reading.schemas.patterns import MAX_COST, cost, effort
from llm_pool.reading.schemas.strangers import MAX_CHARACTERS, MAX_ENTRIES, complaint_about

if TYPE_CHECKING:
    from collections.abc import Callable


def patterned(pattern: str, count: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {f"a{number}": {"type": "string", "pattern": f"{pattern}|{number}"} for number in range(count)},
    }


HOSTILE = {
    "unicode": patterned(r"^(\p{L}|[a-z]){1,200}$", 900),
    "one of them": patterned(r"^(\p{L}|[a-z]){1,200}$", 1),
    "nested": patterned("((((a{1,100}){1,100}){1,100}){1,100})", 1),
    "many": patterned(r"^\w{40}$", 900),
    "any": patterned("^.{1,1000}$", 3),
    "not": patterned(r"[\D]{900}", 10),
    "names": {"type": "object", "patternProperties": {rf"^\p{{L}}{{{count}}}$": {} for count in range(50, 150)}},
}
LARGE = {
    "required": {"type": "object", "required": [f"n{number}" for number in range(5000)]},
    "enum": {"type": "object", "properties": {"a": {"enum": [f"v{number}" for number in range(60_000)]}}},
    "description": {"type": "object", "description": "x" * (MAX_CHARACTERS + 1)},
    "allOf": {"type": "object", "allOf": [{"required": [f"n{number}"]} for number in range(900)]},
    "properties": {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(3000)}},
}


def seconds(action: Callable[[], object]) -> float:
    """CPU time of *action*, the least of three: the others may have had the garbage of other tests to collect."""

    def once() -> float:
        began = time.process_time()
        action()
        return time.process_time() - began

    return min(once() for _ in range(3))


DEAR_TO_MATCH = {
    "ambiguous": "[ab]*a[ab]{1000}[cd]",
    "alternatives": "(?:[ab]*a[ab]{400}c|[ab]*b[ab]{401}d)",
    "looks ahead": "(?=[ab]*a[ab]{1000}[cd])x",
    "looks ahead often": "(?=[a-z]*[0-9]|)" * 100 + "x",
    "looks within looks": "(?=(?:(?=[ab]*c)|[ab])*x)",
    "looks back": "(?<=[ab]{900}a)c",
    "refers back": r"([ab]+)\1{3}z",
}


def again(schema: dict[str, Any], depth: int, within: str) -> dict[str, Any]:
    """*schema* inside of *depth* others that let nothing pass that it does not name."""
    for _ in range(depth):
        inner = {"properties": {"c": schema}} if within == "properties" else schema
        schema = {"anyOf": [inner], "unevaluatedProperties": False}
    return {"type": "object", **schema}


class TestStrangers:
    @pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
    def test_patterns_that_are_dear_to_compile_are_refused_before(self, schema: dict[str, Any]) -> None:
        """The refusal names the keyword, and takes far less than the 50 ms that it may."""
        assert complaint_about(schema).startswith("pattern: ")
        assert seconds(lambda: complaint_about(schema)) < 0.05

    @pytest.mark.parametrize("keyword", LARGE)
    def test_names_and_options_count(self, keyword: str) -> None:
        assert complaint_about(LARGE[keyword]).startswith(f"{keyword}: ")
        assert seconds(lambda: complaint_about(LARGE[keyword])) < 0.05

    @pytest.mark.parametrize(
        "pattern",
        [
            r"^[A-Z]{3}-\d{4}$",
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
            r"^\S+@\S+\.\S+$",
            "^.{1,1000}$",
            r"^\p{Lu}\p{L}*$",
        ],
    )
    def test_patterns_of_every_day_are_taken(self, pattern: str) -> None:
        assert complaint_about(patterned(pattern, 1)) == ""

    def test_a_form_of_a_hundred_fields_is_taken(self) -> None:
        fields = {f"field{number}": {"type": "string", "pattern": r"^\w{1,20}$"} for number in range(100)}

        assert complaint_about({"type": "object", "required": list(fields), "properties": fields}) == ""

    def test_what_is_taken_is_checked_quickly(self) -> None:
        names = [f"n{number}" for number in range(MAX_ENTRIES)]
        schema: dict[str, Any] = {"type": "object", "required": names}
        assert complaint_about(schema) == ""
        validator(schema)

        def reading() -> None:
            for text in ("hello", "{}", '{"n1": "x', '{"n1": "x"}'):
                with pytest.raises(Unreadable):
                    read(text, schema=schema)

        assert seconds(reading) < 0.04

    def test_an_answer_of_too_many_values_for_it_is_refused(self) -> None:
        """The product of both is what takes time."""
        schema: dict[str, Any] = {
            "type": "array",
            "items": {"allOf": [{"not": {"const": f"v{number}"}} for number in range(600)]},
        }
        assert complaint_about(schema) == ""

        with pytest.raises(Unreadable, match="too many values"):
            read("[" + "1," * 5000 + "1]", schema=schema)

        with pytest.raises(Unreadable, match="too many values"):
            read(json.dumps(f"[{'1,' * 5000}1]"), schema=schema)

        assert read("[1, 2]", schema=schema).value == [1, 2]

    @pytest.mark.parametrize("pattern", DEAR_TO_MATCH.values(), ids=DEAR_TO_MATCH)
    def test_a_pattern_that_is_dear_to_match_meets_no_long_text(self, pattern: str) -> None:
        """At twice the length again and again: it is refused, or checked quickly."""
        schema = patterned(pattern, 1) | {"propertyNames": {"maxLength": 9}}
        assert complaint_about(schema) == ""
        rng = random.Random(1)
        for length in (250, 500, 1000, 2000, 4000, 64_000):
            value: dict[str, Any] = {"a0": "".join(rng.choice("ab") for _ in range(length)) + "d"}
            if not is_too_much(schema, value, length):
                assert seconds(lambda value=value: fault(schema, value)) < 0.05
        assert is_too_much(schema, value, length)

    @pytest.mark.parametrize("keyword", ["patternProperties", "propertyNames"])
    def test_names_are_texts_that_patterns_meet(self, keyword: str) -> None:
        pattern = DEAR_TO_MATCH["ambiguous"]
        inner = {pattern: {}} if keyword == "patternProperties" else {"pattern": pattern}
        schema: dict[str, Any] = {"type": "object", keyword: inner}
        assert complaint_about(schema) == ""

        assert is_too_much(schema, {"ab" * 2000: 1}, 4000)
        assert not is_too_much(schema, {"ab" * 20: 1}, 40)

    def test_a_dear_pattern_is_no_matter_where_it_does_not_apply(self) -> None:
        """The text is long, and another field's."""
        schema = patterned(DEAR_TO_MATCH["looks ahead"], 1)
        schema["properties"]["text"] = {"type": "string"}

        assert not is_too_much(schema, {"text": "ab" * 20_000, "a0": "x"}, 40_000)

    @pytest.mark.parametrize(
        "pattern",
        ["^.{1,1000}$", r"^(?=.*[A-Z])(?=.*\d).{8,}$", r"^(?!.*(foo|bar)).*$", r"^\S+@\S+\.\S+$", "^[a-z0-9-]{1,64}$"],
    )
    def test_a_pattern_of_every_day_meets_a_paragraph(self, pattern: str) -> None:
        assert not is_too_much(patterned(pattern, 1), {"a0": "x" * 900}, 900)

    @pytest.mark.parametrize("within", ["anyOf", "properties"])
    def test_what_is_checked_again_and_again_is_refused(self, within: str) -> None:
        """Each level checks all below once more: 20 of them took minutes."""
        refused = 0
        for depth in range(1, 16):
            schema = again({}, depth, within)
            complaint = complaint_about(schema)
            if complaint:
                refused += 1
                assert "unevaluatedProperties" in complaint
            else:
                assert seconds(lambda schema=schema: fault(schema, {"c": {"c": {"c": {}}}})) < 0.02
        assert refused > 8
        assert seconds(lambda: complaint_about(again({}, 15, within))) < 0.05

    def test_objects_that_are_closed_within_each_other_are_taken(self) -> None:
        """As generators of schemas write them: what is beside ``properties`` only is checked once."""
        schema: dict[str, Any] = {"type": "string"}
        for _ in range(20):
            schema = {"type": "object", "properties": {"c": schema}, "unevaluatedProperties": False}

        assert complaint_about(schema) == ""

    def test_long_numbers_count(self) -> None:
        schema: dict[str, Any] = {"type": "object", "properties": {"a": {"items": {"multipleOf": 1e-300}}}}

        assert is_too_much(schema, {"a": [10**300] * 1000}, 300_000)
        assert not is_too_much(schema, {"a": [10**18] * 1000}, 20_000)


class TestEffort:
    @pytest.mark.parametrize(
        ("pattern", "checks"),
        [("abc", 3), ("^.{1,9}$", 11), (r"\p{L}{9}", 9), (r"^(?=.*\d)(?!a(b|c)).*$", 11), ("[(?=]a", 2)],
    )
    def test_is_the_number_of_atoms(self, pattern: str, checks: int) -> None:
        assert effort(pattern) == pytest.approx(checks, abs=2)

    @pytest.mark.parametrize(
        "pattern", ["(?=a)b", r"(a)\1", r"\bfoo", "^(?:(?!a).)*$", "^(?=(?=a))b", "^(?=a)+b", "(?<=a)b"]
    )
    def test_looking_around_and_back_goes_through_the_text_for_each_step(self, pattern: str) -> None:
        assert effort(pattern) > 300

    @given(st.text("ab(){}[]\\p,0129*+?|^.=!<:", max_size=40))
    def test_knows_any_text(self, pattern: str) -> None:
        assert effort(pattern) >= 0


class TestCost:
    @pytest.mark.parametrize(
        ("pattern", "units"),
        [("abc", 4), ("a{100}", 101), ("(ab){1,100}", 201), ("(a{10}){10}", 101), (r"\p{L}", 1001), ("a{,5}", 6)],
    )
    def test_is_the_size_with_repetitions_written_out(self, pattern: str, units: int) -> None:
        assert cost(pattern) == pytest.approx(units, rel=0.6)

    @given(st.text("ab(){}[]\\p,0129*+?|^.", max_size=40))
    def test_knows_any_text(self, pattern: str) -> None:
        assert cost(pattern) >= 1

    def test_has_no_end_and_no_overflow(self) -> None:
        assert cost("(" * 50 + "a" + "{999})" * 50) > MAX_COST


class TestKept:
    def test_is_bounded_in_bytes(self) -> None:
        """However many schemas come: all of these together would take over 100 MB."""
        for number in range(60):
            validator(patterned(rf"^\p{{L}}{{19}}{number}$", 1))

        assert compiled.kept_bytes() <= MAX_KEPT_BYTES

    def test_the_same_object_is_compiled_once(self) -> None:
        schema: dict[str, Any] = {"type": "object"}

        assert validator(schema) is validator(schema)

    def test_what_is_forgotten_is_gone(self) -> None:
        schema = patterned(r"^\p{L}{9}$", 1)
        first, kept = validator(schema), compiled.kept_bytes()

        forget(schema)

        assert compiled.kept_bytes() < kept
        assert validator(schema) is not first


def test_options_are_looked_up() -> None:
    """Not compared one by one: a long enum costs no more for each answer than a short one."""
    options = [f"v{number}" for number in range(MAX_ENTRIES)]
    schema: dict[str, Any] = {"type": "array", "items": {"type": "string", "enum": options}}
    text = json.dumps([option.upper() for option in options[:500]])

    assert read(text, schema=schema).value == options[:500]
    assert seconds(lambda: read(text, schema=schema)) < 0.1


def test_a_fault_is_one_path_and_one_sentence() -> None:
    schema: dict[str, Any] = {"required": ["a", "b"], "properties": {"a": {"items": {"type": "string"}}}}

    assert fault(schema, {}) == ("a", "is missing")
    assert fault(schema, {"a": ["x", 1], "b": 2}) == ("a[1]", '1 is not of type "string"')
    assert fault(schema, {"a": [], "b": 2}) is None

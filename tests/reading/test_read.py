"""From text to a valid value: what is read, what is refused and why."""

from __future__ import annotations

import json
import re
import timeit
from time import process_time
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from llm_pool.reading import MAX_LENGTH, Unreadable, read
from llm_pool.reading.regions import MAX_DEPTH
from llm_pool.reading.schemas import validator

VERDICT: dict[str, Any] = {
    "type": "object",
    "required": ["winner_id", "confidence", "reason"],
    "additionalProperties": False,
    "properties": {
        "winner_id": {"type": "string", "enum": ["a", "b"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reason": {"type": "string", "maxLength": 40},
    },
}
RIGHT = {"winner_id": "b", "confidence": 0.8, "reason": "it is shorter"}
TEXT = json.dumps(RIGHT)

RANKING: dict[str, Any] = {
    "type": "object",
    "required": ["ranking"],
    "properties": {
        "ranking": {
            "type": "array",
            "items": {"type": "string", "enum": ["a", "b", "c", "d"]},
            "minItems": 4,
            "maxItems": 4,
            "uniqueItems": True,
        }
    },
}

ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["answer"],
    "properties": {"reasoning": {"type": "string"}, "answer": {"type": ["string", "number"]}},
}

LIST: dict[str, Any] = {
    "type": "object",
    "required": ["title", "tags"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 20},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 3, "uniqueItems": True},
        "severity": {"type": "string", "enum": ["high", "low"]},
        "final": {"type": "boolean"},
    },
}


def verdict(text: str, **more: Any) -> Any:
    return read(text, schema=VERDICT, kind="value", field="winner_id", ids=("a", "b"), **more)


def answer(text: str, **more: Any) -> Any:
    return read(text, schema=ANSWER, kind="value", field="answer", **more)


def ranking(text: str) -> Any:
    return read(text, schema=RANKING, kind="ranking", field="ranking", ids=("a", "b", "c", "d"))


def refusal(text: str, schema: dict[str, Any] = VERDICT, **more: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        read(text, schema=schema, **more)
    return caught.value.reason


class TestEachRepair:
    """Each text is read by the repair that is named, and by none before it."""

    @pytest.mark.parametrize(
        ("repair", "text"),
        [
            ("strict", TEXT),
            ("strict", f"\n  {json.dumps(RIGHT, indent=2)}\n"),
            ("extracted", f"Sure! Here it is:\n```json\n{TEXT}\n```\nAnything else?"),
            ("extracted", f"```\n```json\n{TEXT}\n```\n```"),
            ("strict", f"<think>{{'winner_id': 'a'}} or maybe b</think>{TEXT}"),
            ("strict", f'<think>{TEXT.replace("b", "a")} no, {{"winner_id": "a"</think>\n{TEXT}'),
            ("extracted", f"The set {{1, 2}} and \\frac{{a}}{{b}} aside: {TEXT}"),
            ("extracted", f'{TEXT}\n\nNow another: {{"winner_id": "a", "confidence": 0.1, "reason": "x"}}'),
            ("tolerant", "{'winner_id': 'b', 'confidence': 0.8, 'reason': 'it is shorter',}"),
            ("tolerant", TEXT[:-1] + ",}"),
            ("tolerant", '{"winner_id": "b" "confidence": 0.8 "reason": "it is shorter"}'),
            ("tolerant", '{winner_id: "b", confidence: 0.8, reason: "it is shorter"}'),
            ("coerced", '{"winner_id": "B", "confidence": "0.8", "reason": "it is shorter", "model": "me"}'),
            ("coerced", f"[{TEXT}]"),
            ("coerced", f'{{"verdict": {TEXT}}}'),
        ],
    )
    def test_reads_the_same_verdict(self, repair: str, text: str) -> None:
        reading = verdict(text)

        assert reading.value == RIGHT
        assert reading.repair == repair
        assert json.loads(reading.content) == RIGHT

    @pytest.mark.parametrize(
        ("repair", "text", "value"),
        [
            ("newlines", '{"reasoning": "one\ntwo\tthree", "answer": "5"}', "5"),
            ("backslashes", r'{"reasoning": "\(x\)", "answer": "\frac{1}{2}"}', r"\frac{1}{2}"),
            ("backslashes", r'{"reasoning": "tab", "answer": "3 \times 4"}', r"3 \times 4"),
            ("backslashes", r'{"reasoning": "C:\users", "answer": "5"}', "5"),
            ("strict", r'{"reasoning": "a\\b\n\"c\"", "answer": "\\frac{1}{2}"}', r"\frac{1}{2}"),
            ("strict", r'{"answer": "{\"answer\": \"}\"}"}', '{"answer": "}"}'),
            ("fields", 'I say "reasoning": because and "answer": "5".', "5"),
            ("stated", "Six sevens make 42.\n**Answer:** 42", "42"),
            ("stated", r"So the answer is $\boxed{\frac{9}{2}}$. Done.", r"\frac{9}{2}"),
        ],
    )
    def test_reads_the_same_answer(self, repair: str, text: str, value: str) -> None:
        reading = answer(text)

        assert (reading.repair, reading.value["answer"]) == (repair, value)

    def test_keeps_the_text_of_what_needed_no_mending(self) -> None:
        """Formatting is the model's; only mended answers are written anew."""
        pretty = json.dumps(RIGHT, indent=4)

        assert verdict(pretty).content == pretty
        assert verdict(f"Here: {pretty}").content == pretty

    def test_prefers_its_own_broken_answer_to_an_echo_of_the_question(self) -> None:
        """Small models answer, then go on with a question of their own."""
        text = (
            '{"reasoning": "half\n"answer": "7"}\n```\n## Format\n```json\n{"reasoning": "___", "answer": "___"}\n```'
        )

        assert answer(text).value["answer"] == "7"


class TestFreeText:
    """Without a schema the text is the answer."""

    def test_strips_and_drops_nothing_else(self) -> None:
        reading = read('  ```json\n{"a": 1}\n```\n', schema=None, kind="text")

        assert (reading.content, reading.value, reading.repair) == ('```json\n{"a": 1}\n```', None, "strict")

    @pytest.mark.parametrize(
        ("text", "reason"), [(" \n\t", "the answer is empty"), ("half \ud83d", "half a character")]
    )
    def test_refuses_what_says_nothing(self, text: str, reason: str) -> None:
        with pytest.raises(Unreadable, match=reason):
            read(text, schema=None, kind="text")


class TestCoercion:
    """A value of the wrong type that can mean only one thing becomes of the right type."""

    @pytest.mark.parametrize(
        ("given_", "read_"),
        [
            ({"title": 7, "tags": ["x", "y"]}, {"title": "7", "tags": ["x", "y"]}),
            ({"title": "t", "tags": ["x", "y", "x"]}, {"title": "t", "tags": ["x", "y"]}),
            ({"title": "t", "tags": ["x", "y", "z", "w"]}, {"title": "t", "tags": ["x", "y", "z"]}),
            ({"title": "t", "tags": [1, True]}, {"title": "t", "tags": ["1", "true"]}),
            (
                {"title": "t", "tags": ["x", "y"], "severity": " HIGH."},
                {"title": "t", "tags": ["x", "y"], "severity": "high"},
            ),
            ({"title": "t", "tags": ["x", "y"], "severity": None}, {"title": "t", "tags": ["x", "y"]}),
            ({"title": "t", "tags": ["x", "y"], "final": "Yes"}, {"title": "t", "tags": ["x", "y"], "final": True}),
            (
                {"title": "a title of too many words", "tags": ["x", "y"]},
                {"title": "a title of too many", "tags": ["x", "y"]},
            ),
        ],
    )
    def test_changes_the_form_and_not_the_meaning(self, given_: Any, read_: Any) -> None:
        reading = read(json.dumps(given_), schema=LIST)

        assert (reading.value, reading.repair) == (read_, "coerced")

    def test_never_shortens_the_deciding_field(self) -> None:
        """Half an answer is another answer."""
        schema = {
            "type": "object",
            "required": ["answer"],
            "properties": {"answer": {"type": "string", "maxLength": 5}},
        }

        with pytest.raises(Unreadable, match=r"^answer: "):
            read('{"answer": "123 456"}', schema=schema, kind="value", field="answer")

    def test_never_drops_a_step(self) -> None:
        """A list of objects may be a plan: a shorter plan is another plan."""
        schema = {"type": "object", "properties": {"steps": {"type": "array", "maxItems": 1}}}

        assert refusal('{"steps": [{"do": 1}, {"do": 2}]}', schema).startswith("steps: ")


class TestRanking:
    """A ranking becomes a permutation of the ids, or is refused."""

    @pytest.mark.parametrize(
        ("text", "order", "repair"),
        [
            ('{"ranking": ["d", "b", "a", "c"]}', "dbac", "strict"),
            ('{"ranking": ["d", "b", "a"]}', "dbac", "ranked"),
            ('{"ranking": ["d", "d", "zzz", "b", "c", "d"]}', "dbca", "ranked"),
            ('["d", "B", "a", "c"]', "dbac", "ranked"),
            ('{"ranking": [{"id": "d"}, {"id": "b"}, {"id": "a", "score": 1}, {"id": "c"}]}', "dbac", "ranked"),
            ('{"order": ["d", "b", "a", "c"]}', "dbac", "ranked"),
        ],
    )
    def test_completes_it(self, text: str, order: str, repair: str) -> None:
        reading = ranking(text)

        assert ("".join(reading.value["ranking"]), reading.repair) == (order, repair)

    @given(st.lists(st.sampled_from(["a", "b", "c", "d", "x", 1])))
    def test_is_a_permutation_or_unreadable(self, ids: list[Any]) -> None:
        known = {name for name in ids if name in {"a", "b", "c", "d"}}
        text = json.dumps({"ranking": ids})

        if len(known) >= 3:
            assert sorted(ranking(text).value["ranking"]) == ["a", "b", "c", "d"]
        else:
            assert refusal(text, RANKING, kind="ranking", field="ranking", ids=("a", "b", "c", "d")).startswith(
                "the ranking"
            )


class TestRefusals:
    """A refusal is one sentence that names the culprit."""

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ('{"winner_id": "b", "confidence": 0.8}', "reason: is missing"),
            ('{"winner_id": "c", "confidence": 0.8, "reason": "x"}', 'winner_id: "c" is not one of'),
            ('{"winner_id": "b", "confidence": 7, "reason": "x"}', "confidence: 7 is greater than the maximum of 1"),
            ('{"winner_id": "b", "confidence": NaN, "reason": "x"}', 'confidence: "NaN" is not of type "number"'),
            ("I cannot decide.", "there is no JSON object in the answer, which begins 'I cannot decide.'"),
            ('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1), "brackets are nested deeper than 64 levels"),
            ("x" * (MAX_LENGTH + 1), "the answer is 1000001 characters long, over the limit of 1000000"),
        ],
    )
    def test_names_the_culprit(self, text: str, reason: str) -> None:
        assert refusal(text, kind="value", field="winner_id").startswith(reason)

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_numbers_are_finite(self, constant: str) -> None:
        with pytest.raises(Unreadable):
            read(f'{{"n": {constant}}}', schema={"type": "object", "properties": {"n": {"type": "number"}}})

    @pytest.mark.parametrize(
        "text",
        [
            '{"a":' * 150_000,
            '{"winner_id": "' * 60_000,
            "{" * 500_000,
            "[" * 500_000,
            '{"a": "' + '\\"' * 400_000,
            "{'a': '" + "\\'" * 400_000 + "}",
            "\n" * 900_000 + "{",
            '{"a": "' + "\\" * 900_000 + '"}',
            "\\boxed{" * 4_000,
            ('{"winner_id": "\\"' * 3_000)[:32_000],
        ],
        ids=lambda text: text[:12].strip(),
    )
    def test_hostile_text_costs_no_more_than_a_second(self, text: str) -> None:
        """Far from the tenth it takes on an idle machine, and farther from minutes."""
        assert timeit.timeit(lambda: refusal(text, kind="value", field="winner_id"), timer=process_time, number=1) < 3


class TestTruncation:
    """A text that the token limit cut is read only as far as it is complete."""

    def test_closes_what_lacks_only_its_brackets(self) -> None:
        text = '{"answer": "42", "reasoning": "because it is'

        reading = answer(text, finish="length")

        assert (reading.value, reading.repair) == ({"answer": "42"}, "closed")

    @pytest.mark.parametrize("text", ['{"answer": "42', '{"answer": 4', '{"answer": "4\\"', "the answer is 4"])
    def test_makes_nothing_of_a_cut_field(self, text: str) -> None:
        with pytest.raises(Unreadable, match=r"token limit|breaks off"):
            answer(text, finish="length")

    def test_a_cut_number_is_no_number(self) -> None:
        with pytest.raises(Unreadable):
            read("12", schema={"type": "number"}, finish="length")


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\b\f"))  # \b and \f read as LaTeX
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4))
objects = st.dictionaries(words, values, min_size=1, max_size=4)
prose = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{[<◁"), max_size=60)
ANY_OBJECT: dict[str, Any] = {"type": "object"}


class TestAnyJson:
    """What holds for every value and every text."""

    @example({"</think>": {}}, "", "0", None, "{}")
    @given(
        objects, prose, prose, st.sampled_from([None, 2]), st.sampled_from(["{}", "```json\n{}\n```", "\n```\n{}```"])
    )
    def test_wrapped_json_reads_back_equal(
        self, value: Any, before: str, after: str, indent: int | None, wrap: str
    ) -> None:
        text = before + wrap.replace("{}", json.dumps(value, indent=indent)) + after

        assert read(text, schema=ANY_OBJECT).value == value

    @pytest.mark.parametrize("comment", ["// how many", "/* how many */", "# how many"])
    def test_a_comment_behind_the_last_value_is_none_of_it(self, comment: str) -> None:
        schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}

        assert read(f'{{"n": 7 {comment}\n}}', schema=schema).value == {"n": 7}

    @given(st.dictionaries(st.text("abc,: é", max_size=30), st.lists(st.integers()) | st.booleans(), min_size=1))
    def test_trailing_commas_change_nothing(self, value: Any) -> None:
        text = re.sub(r"(?<=[\d\]e])([\]}])", r",\1", json.dumps(value))

        assert read(text, schema=ANY_OBJECT).value == value

    @given(st.text(st.characters(exclude_characters='"\\', exclude_categories=["Cs"])))
    def test_raw_newlines_and_tabs_are_kept(self, said: str) -> None:
        text = f'{{"reasoning": "{said}\n\t", "answer": "5"}}'

        assert answer(text).value == {"reasoning": f"{said}\n\t", "answer": "5"}

    @given(st.text() | st.text("{}[]\"'\\,: \nabr0`NnaTfeu", max_size=80), st.sampled_from(["stop", "length", "other"]))
    @example('{"winner_id": "b", "confidence": 1' + "0" * 5000 + ', "reason": "x"}', "stop")
    @example('{"winner_id": "\\ud800", "confidence": 1, "reason": "x"}', "stop")
    @example('{"winner_id": "b", "confidence": "' + "9" * 400 + '", "reason": "x"}', "stop")
    @example('{"confidence": {"a": {}}}', "stop")
    def test_raises_nothing_but_unreadable(self, text: str, finish: Any) -> None:
        for schema, kind, field in (
            (VERDICT, "value", "winner_id"),
            (RANKING, "ranking", "ranking"),
            (ANSWER, "value", "answer"),
            (LIST, "object", ""),
            ({"type": "array", "items": {"type": "integer"}}, "object", ""),
            ({"type": "string"}, "object", ""),
        ):
            try:
                reading = read(text, schema=schema, kind=kind, field=field, ids=("a", "b", "c", "d"), finish=finish)  # type: ignore[arg-type]  # kinds from a table
            except Unreadable:
                continue
            assert validator(schema).is_valid(reading.value)
            assert json.loads(reading.content) == reading.value or reading.repair == "extracted"
            reading.content.encode()

    @given(
        st.text(max_size=20) | st.integers(),
        st.text(max_size=30),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["{}", "Well: {}", "```json\n{}\n```\nDone."]),
        st.data(),
    )
    def test_a_cut_text_says_what_the_whole_says_or_nothing(
        self, said: Any, why: str, first: bool, plain: bool, wrap: str, data: st.DataObject
    ) -> None:
        members = {"answer": said, "reasoning": why} if first else {"reasoning": why, "answer": said}
        whole = wrap.replace("{}", json.dumps(members, ensure_ascii=plain))
        assume(_message_format(whole, said))  # not "\frac", which is read as LaTeX, nor a blank
        cut = whole[: data.draw(st.integers(0, len(whole)))]

        try:
            reading = answer(cut, finish="length")
        except Unreadable:
            return

        assert reading.value["answer"] == said


def _message_format(text: str, said: Any) -> bool:
    try:
        return bool(answer(text).value["answer"] == said)
    except Unreadable:
        return False


def test_valid_json_costs_next_to_nothing() -> None:
    """The fast path is on every answer of every attempt; 8 microseconds on an idle machine."""
    verdict(TEXT)

    assert min(timeit.repeat(lambda: verdict(TEXT), timer=process_time, number=200, repeat=20)) / 200 < 20e-6

"""A value is read whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_pool.reading import Unreadable, read
from llm_pool.reading.blanks import is_blank
from llm_pool.reading.marks import SMART_QUOTES
from llm_pool.reading.numerals import numeral


def schema(kind: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["answer"],
        "properties": {"reasoning": {"type": "string"}, "answer": {"type": kind, **more}},
    }


def answer(text: str, kind: Any = "integer", *, finish: Any = "stop", **more: Any) -> Any:
    value: Any = read(text, schema=schema(kind, **more), kind="value", field="answer", finish=finish).value
    return value["answer"]


def refusal(text: str, kind: Any = "integer", **more: Any) -> str:
    with pytest.raises(Unreadable) as caught:
        answer(text, kind, **more)
    return caught.value.reason


NO_INTEGERS = [
    *("3+4", "10:30", "5 or 6", "3√5", "12 km", "$5", "5%6", "1,23", "1 23", "10²", "0x1F", "--5", "5-6", "1.234"),
    '"5" or "6"',
]
BLANKS = [
    *("", " \n", "___", "**___**", "...", "json", "```json", "```", "\\[", "\\(", "(", "[", "{", "$$", '"'),
    "<your answer here>",
]
RANKING: dict[str, Any] = {
    "type": "object",
    "required": ["ranking"],
    "properties": {
        "ranking": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    },
}


class TestHalfAValue:
    """What is not wholly a number is no number."""

    @pytest.mark.parametrize("said", NO_INTEGERS)
    def test_is_unreadable(self, said: str) -> None:
        for quoted in (said, json.dumps(said)):
            assert refusal(f'{{"answer": {quoted}}}').startswith("answer: ")
        assert refusal(f"The answer is {said}").startswith("answer: ")

    @pytest.mark.parametrize(
        "text",
        [
            '{"answer": 12',
            '{"answer": 12 ',
            '```json\n{"answer": 12\n```',
            '{"reasoning": "6 + 6", "answer": 12',
            "{answer: 12",
            "{Answer: 12",
            '{"ANSWER": 12',
            '{"Answer": "12\n"x": 1}',
            '{"answer": "12',
            '{"answer": "12\n"reasoning": "6 + 6"}',
            '{"answer": ',
            '{"answer": [12, ',
            '{"answer": {"value": 12}',
            '[{"answer": 1',
            '{\\"answer\\": 12',
            "{“answer”\uff1a 12",
        ],
    )
    @pytest.mark.parametrize("finish", ["stop", "length", "other"])
    def test_is_never_completed(self, text: str, finish: Any) -> None:
        for kind in ("integer", "string", ["string", "integer", "array"]):
            refusal(text, kind, finish=finish)

    @pytest.mark.parametrize("half", ['"1', '"1\\', "1", '"'])
    def test_of_an_option_is_no_option(self, half: str) -> None:
        """The model was writing ``12``."""
        refusal(f'{{"confidence": 0.9, "answer": {half}', "string", enum=["1", "12"])

    def test_of_an_object_of_which_all_decides_is_none(self) -> None:
        free = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}

        for text in ('{"title": "A lighthouse"', '{"title": "A lighthouse", "tags": ["sea"'):
            with pytest.raises(Unreadable):
                read(text, schema=free)

    def test_a_closed_value_stands_though_its_object_is_open(self) -> None:
        assert answer('{"answer": "12", "reasoning": "half a', "string", finish="length") == "12"

    @given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["'", '"', "“", ""]), st.data())
    def test_no_beginning_of_an_object_says_something_else(
        self, said: str, why: str, quote: str, data: st.DataObject
    ) -> None:
        """Whatever quotes it uses: cut anywhere, it says what the whole says or nothing."""
        close = "”" if quote == "“" else quote
        assume(not quote or not set(said) & set(f'{SMART_QUOTES}"' if quote != "'" else "'"))  # else it is closed twice
        whole = f'{{{quote}answer{close}: {quote}{said}{close}, "reasoning": {json.dumps(why)}}}'
        try:
            meant = answer(whole, "string")
        except Unreadable:
            meant = None

        try:
            read_ = answer(whole[: data.draw(st.integers(0, len(whole) - 1))], "string", finish="length")
        except Unreadable:
            return

        assert read_ == meant


class TestCorrections:
    """The last object counts, within one answer."""

    def test_a_later_object_corrects_an_earlier_one(self) -> None:
        assert answer('{"answer": 5}\nWait, I forgot the tip. Corrected:\n```json\n{"answer": 6}\n```') == 6

    def test_one_that_breaks_off_takes_the_earlier_one_back(self) -> None:
        assert "breaks off" in refusal('{"answer": 5}\nWait: {"answer": 1')

    @pytest.mark.parametrize(
        "between", ["Next, I check it: 6.", "The problem is that I forgot one.", "User error, sorry."]
    )
    def test_words_of_a_question_in_prose_are_none(self, between: str) -> None:
        assert answer(f'{{"answer": 5}}\n\n{between}\n{{"answer": 6}}') == 6

    @pytest.mark.parametrize(
        "next_",
        ["## Question\n7 + 7?", "Now another: ", "**Question:** 7 + 7?", "Example 2:", "## Your task", "User: 7 + 7?"],
    )
    def test_a_new_question_is_no_correction(self, next_: str) -> None:
        """Small models answer, then go on with a question of their own."""
        assert answer(f'{{"answer": 5}}\n\n{next_}\n{{"answer": 14}}') == 5

    def test_a_blank_form_is_no_correction(self) -> None:
        assert answer('{"answer": "5"}\n{"reasoning": "___", "answer": "___"}', "string") == "5"


class TestForms:
    """The same value in other clothes."""

    @pytest.mark.parametrize(
        ("text", "kind", "value"),
        [
            ('{"answer": 1,234}', "integer", 1234),
            ('{"answer": "1,234"}', "integer", 1234),
            ('{"answer": 1 234}', "integer", 1234),
            ('{"answer": "\u22127"}', "integer", -7),
            ('{"answer": "3/4"}', "number", 0.75),
            ('{"answer": 3,14}', "number", 3.14),
            ('{"answer": "1.234,5"}', "number", 1234.5),
            ('{"answer": "Yes."}', "boolean", True),
            ('{"answer": **no**}', "boolean", False),
            ("Yes.", "boolean", True),
            ("42", "integer", 42),
            ('{"Answer": 42}', "integer", 42),
            ('{" ANSWER ": 42}', "integer", 42),
            (r'{"answer": "$42$"}', "integer", 42),
            ('"{\\"answer\\": 42}"', "integer", 42),
            ('{\\"answer\\": 42}', "integer", 42),
            ('{"result": "{\\"answer\\": 42}"}', "integer", 42),
            ('{"model": "m", "result": {"answer": 42}}', "integer", 42),
            ("{“answer”: “42”}", "integer", 42),
            ("\uff5b\uff02answer\uff02\uff1a\uff14\uff12\uff5d", "integer", 42),
            ("{'answer': True, }", "boolean", True),
            ("{answer: 42, // as asked\n}", "integer", 42),
            ('{"answer": ("a", "b")}', "array", ["a", "b"]),
            ('{"answer": "[\\"a\\", \\"b\\"]"}', "array", ["a", "b"]),
            ('{"answer": 007}', "string", "007"),
            ('{"answer": don\'t}', "string", "don't"),
            ('{"reasoning": "he said "no" twice", "answer": 2}', "integer", 2),
            ("{'answer': 'it's'}", "string", "it's"),
        ],
    )
    def test_reads_the_value(self, text: str, kind: str, value: Any) -> None:
        assert answer(text, kind) == value

    @pytest.mark.parametrize("said", ["**B**", "(B)", "b.", "B)", "'B'", "“B”"])
    def test_an_option_with_marks_around_it(self, said: str) -> None:
        assert answer(json.dumps({"answer": said}), "string", enum=["A", "B"]) == "B"
        assert answer(said, "string", enum=["A", "B"]) == "B"

    def test_two_options_are_none(self) -> None:
        refusal('{"answer": "A or B"}', "string", enum=["A", "B"])

    def test_percent_is_a_share_where_the_schema_says_so(self) -> None:
        assert answer('{"answer": "50%"}', "number") == 50
        assert answer('{"answer": "50%"}', "number", minimum=0, maximum=1) == 0.5

    def test_two_names_that_may_be_meant_are_none(self) -> None:
        refusal('{"ANSWER": 5, "Answer": 6}')

    @given(st.integers(-(10**12), 10**12))
    def test_any_grouped_integer_reads_back(self, number: int) -> None:
        for text in (f"{number:,}", f"{number:_}", f"{number:,}".replace(",", " "), str(number).replace("-", "\u2212")):
            found = numeral(text)
            assert found is not None
            assert found.value == number

    @given(st.text("0123456789,. /-+%e", max_size=12))
    def test_a_numeral_is_a_number_or_nothing(self, text: str) -> None:
        found = numeral(text)

        assert found is None or isinstance(found.value, (int, float))


class TestBlanks:
    @pytest.mark.parametrize("text", BLANKS)
    def test_are_no_answer(self, text: str) -> None:
        assert is_blank(text)
        refusal(json.dumps({"answer": text}), "string")
        with pytest.raises(Unreadable):
            read(text, schema=None, kind="text")

    @pytest.mark.parametrize("text", ["-", "5", "[]", "{}", "()", "''", "$", "JSON", "a_b", "No.", "…and so on"])
    def test_what_says_something_is_one(self, text: str) -> None:
        assert not is_blank(text)
        assert read(text, schema=None, kind="text").content == text

    def test_a_blank_that_the_schema_offers_is_an_option(self) -> None:
        assert answer('{"answer": "json"}', "string", enum=["json", "xml"]) == "json"

    def test_an_empty_text_that_is_meant_is_one(self) -> None:
        """Programs print nothing, and the model says that it does."""
        assert answer('{"reasoning": "so it returns an empty string", "answer": ""}', "string") == ""

    def test_reasoning_alone_is_no_answer(self) -> None:
        for text in ("<think>it is 1", "<think>it is 1</think>", '<think>{"answer": 1}'):
            refusal(text)
            with pytest.raises(Unreadable, match="reasoning"):
                read(text, schema=None, kind="text")

    def test_an_answer_behind_reasoning_is_read_without_it(self) -> None:
        assert read("<think>Is it 3, 5 or 7?</think>\n\n42", schema=None, kind="text").content == "42"


class TestRankings:
    @pytest.mark.parametrize(
        "text",
        [
            "c > a > b",
            "c → a → b",
            "1. c\n2. a\n3. b",
            "- c: it says so\n- a: perhaps\n- b: no",
            "Best first:\n1) **c**\n2) **a**\n3) **b**",
            '{"ranking": "c > a > b"}',
            '{"ranking": "c, a, b"}',
            '{"ranking": ["c > a > b"]}',
            '{"ranking": {"1": "c", "2": "a", "3": "b"}}',
            '{"ranking": {"a": 2, "b": 3, "c": 1}}',
            "[c, a, b]",
        ],
    )
    def test_are_read_as_lists_and_arrows(self, text: str) -> None:
        reading: Any = read(text, schema=RANKING, kind="ranking", field="ranking", ids=("a", "b", "c"))

        assert reading.value == {"ranking": ["c", "a", "b"]}

    def test_a_bracket_in_the_prose_behind_one_takes_nothing_back(self) -> None:
        text = '{"ranking": ["c", "a", "b"]}\nSee [note'

        reading = read(text, schema=RANKING, kind="ranking", field="ranking", ids=("a", "b", "c"))

        assert reading.value == {"ranking": ["c", "a", "b"]}

    @pytest.mark.parametrize(
        "text",
        ['["c", "a", "b', "c > a", '{"ranking": ["c", "a", "b', '{"ranking": ["c", "a"', "I like c more than a and b"],
    )
    def test_half_of_one_is_none(self, text: str) -> None:
        with pytest.raises(Unreadable):
            read(text, schema=RANKING, kind="ranking", field="ranking", ids=("a", "b", "c"))

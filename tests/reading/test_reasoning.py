"""Reasoning and answer are told apart, in a whole text and in a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.reading.reasoning import MAX_HEADER, Split, Splitter, split

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCKS = [
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reason>", "</reason>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<unused94>", "<unused95>"),
    ("<|channel>thought", "<channel|>"),
]
WRAPPINGS = [
    ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ("<|START_TEXT|>", "<|END_TEXT|>"),
    ("<|begin_of_box|>", "<|end_of_box|>"),
]
DRAFT = "<|channel|>analysis<|message|>6 or 7?<|end|>"
FINAL = "<|channel|>final<|message|>7"


class TestBlocks:
    @pytest.mark.parametrize(("opening", "closing"), BLOCKS)
    def test_a_block_at_the_beginning_is_reasoning(self, opening: str, closing: str) -> None:
        assert split(f"\n {opening}\n6 or 7?{closing}\n\n7") == Split("6 or 7?", "7", complete=True)

    @pytest.mark.parametrize(("opening", "closing"), BLOCKS)
    def test_an_unclosed_block_is_no_answer(self, opening: str, closing: str) -> None:
        assert split(f"{opening}so it is 7") == Split("so it is 7", "", complete=False)
        assert split(f"{opening}so it is 7{closing[:-1]}").complete is False

    def test_blocks_behind_each_other_are_all_reasoning(self) -> None:
        text = "<think>one</think>\n<think></think><thinking>two</thinking> 7 <think>no</think>"

        assert split(text) == Split("one\n\ntwo", "7 <think>no</think>", complete=True)

    def test_a_block_ends_at_its_first_closing_tag(self) -> None:
        """An answer that speaks of the tag keeps it."""
        assert split("<think>hm</think>It ends with </think>.\n") == Split(
            "hm", "It ends with </think>.\n", complete=True
        )

    def test_a_block_that_the_prompt_opened(self) -> None:
        assert split("6 or 7?</think>7", inside=True) == Split("6 or 7?", "7", complete=True)
        assert split("6 or 7?", inside=True) == Split("6 or 7?", "", complete=False)


class TestAClosingTagAlone:
    """Templates that open the block in the prompt leave only its end in the text."""

    @pytest.mark.parametrize(
        "text",
        ["6 or 7?\n</think>\n\n7", "6 or 7?</think>\n7", "6 or 7?</think>7", "6 or 7?\n[/THINK]7", "6 or 7?</think> 7"],
    )
    def test_ends_the_reasoning_before_it(self, text: str) -> None:
        assert split(text) == Split("6 or 7?", "7", complete=True)

    @pytest.mark.parametrize(
        "text",
        [
            "The block ends with `</think>`, as ever.",
            'Search for "</think>" in it.',
            "The tag </think> closes the block.",
            "```\n<think>\n</think>\n```\nis how it looks.",
            '{"</think>": 1}',
            "a list: [1, 2, 3]",
            "<b>bold</b> and </thinker>",
        ],
    )
    def test_is_left_alone_where_the_answer_speaks_of_it(self, text: str) -> None:
        assert split(text) == Split("", text, complete=True)

    def test_counts_once(self) -> None:
        assert split("6?\n</think>\n7\n</think>\n8") == Split("6?", "7\n</think>\n8", complete=True)


class TestMessages:
    """The harmony format."""

    @pytest.mark.parametrize(
        ("text", "reasoning"),
        [
            (f"{DRAFT}<|start|>assistant<|channel|>final<|message|>7<|return|>", "6 or 7?"),
            (f"{DRAFT}<|start|>assistant<|channel|>final <|constrain|>json<|message|>7", "6 or 7?"),
            (f"<|start|>assistant{DRAFT}\n7", "6 or 7?"),
            ("<|channel|>final<|message|>7", ""),
            ("<|start|>assistant<|message|>7<|end|>", ""),
            (f"{DRAFT}<|start|>assistant<|channel|>commentary to=x<|message|>y<|call|>{FINAL}", "6 or 7?\ny"),
        ],
    )
    def test_the_final_one_is_the_answer(self, text: str, reasoning: str) -> None:
        assert split(text) == Split(reasoning, "7", complete=True)

    @pytest.mark.parametrize(
        "text", [DRAFT, DRAFT[:-7], "<|channel|>analysis", f"{DRAFT}<|start|>assistant<|channel|>fin"]
    )
    def test_without_a_final_one_there_is_no_answer(self, text: str) -> None:
        assert split(text)[1:] == ("", False)

    def test_a_header_without_end_holds_nothing_back_for_ever(self) -> None:
        assert split("<|start|>" + "x" * 2 * MAX_HEADER).complete is False


class TestMessagesWithoutTheirTokens:
    """As servers leave them that take the tokens of the harmony format away."""

    @pytest.mark.parametrize("thought", ["We need 6 or 7.", "用户 asks"])
    def test_the_text_behind_the_final_word_is_the_answer(self, thought: str) -> None:
        text = f"analysis{thought}assistantfinal7"

        assert streamed(list(text))[2] == split(text) == Split(thought, "7", complete=True)

    def test_without_it_there_is_no_answer(self) -> None:
        assert split("analysisWe need 6 or 7.").complete is False

    @pytest.mark.parametrize("text", ["analysis", "analysis of it", "analysisResult", "analysisResult.", "Analysis: 7"])
    def test_the_word_alone_is_an_answer(self, text: str) -> None:
        assert streamed(list(text))[2] == split(text) == Split("", text, complete=True)


class TestTokensAroundAnAnswer:
    @pytest.mark.parametrize(("opening", "closing"), WRAPPINGS)
    @pytest.mark.parametrize("before", ["", "<think>6?</think>\n"])
    def test_are_left_out(self, before: str, opening: str, closing: str) -> None:
        assert split(f"{before}{opening}7{closing}").answer == "7"
        assert split(f"{before}{opening} 7{closing} or 8").answer == "7 or 8"
        assert split(f"{before}{opening}7").answer == "7"

    @pytest.mark.parametrize("text", ["<answer>7</answer>", "It is <|begin_of_box|>7<|end_of_box|>"])
    def test_what_the_prompt_may_have_asked_for_stays(self, text: str) -> None:
        assert split(f"<think>6?</think>{text}").answer == text


tags = st.sampled_from(
    [tag for pair in BLOCKS for tag in pair]
    + ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|START_TEXT|>", "<|end_text|>"]
    + ["analysisWe ", "analysis", "assistantfinal"]
)
texts = st.lists(tags | st.text('a7 \n.`"<|>[/', max_size=6) | st.sampled_from(["analysis", "final", "```\n"])).map(
    "".join
)


def streamed(pieces: Sequence[str]) -> tuple[str, str, Split]:
    """Reasoning and answer as they were handed out, and the whole."""
    splitter, reasoning, answer = Splitter(), "", ""
    for piece in (*(splitter.feed(text) for text in pieces), splitter.close()):
        if piece.retracted:
            reasoning, answer = reasoning + answer, ""
        reasoning, answer = reasoning + piece.reasoning, answer + piece.answer
    return reasoning, answer, splitter.split()


class TestStreams:
    @given(texts, st.lists(st.integers(1, 7)))
    def test_pieces_say_what_the_whole_says(self, text: str, lengths: list[int]) -> None:
        """However it is cut, and what was handed out on the way adds up to it."""
        pieces, rest = [], text
        for length in lengths:
            pieces.append(rest[:length])
            rest = rest[length:]

        reasoning, answer, whole = streamed([*pieces, rest])

        assert whole == split(text)
        assert reasoning.strip() == whole.reasoning
        assert answer == whole.answer or not whole.complete

    def test_text_is_handed_on_at_once(self) -> None:
        splitter = Splitter()

        assert splitter.feed("The ").answer == "The "
        assert splitter.feed("answer is <").answer == "answer is "
        assert splitter.feed("b>7").answer == "<b>7"

    def test_only_the_beginning_of_a_tag_is_held_back(self) -> None:
        splitter = Splitter()

        assert splitter.feed(" <thin") == ("", "", False)
        assert splitter.feed("k>hm, so </th").reasoning == "hm, so "
        assert splitter.complete is False
        assert splitter.feed("ink>\n7") == ("", "7", False)
        assert splitter.complete is True

    def test_what_turns_out_to_be_reasoning_is_retracted(self) -> None:
        splitter = Splitter()

        assert splitter.feed("6 or 7?\n") == ("", "6 or 7?\n", False)
        assert splitter.feed("</think>\n") == ("", "", True)
        assert splitter.feed("7") == ("", "7", False)
        assert splitter.split() == Split("6 or 7?", "7", complete=True)

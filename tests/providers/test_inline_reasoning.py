"""Reasoning that stands in the text of a stream, and what is remembered of a model that wrote it."""

from __future__ import annotations

import pytest

from llm_pool.providers.inline_reasoning import InlineReasoning, ReasoningHabit


def divided(inline: InlineReasoning, texts: list[str], *, is_whole: bool = True) -> tuple[str, str]:
    """Reasoning and answer after all of *texts*."""
    reasoning, answer = "", ""
    for piece in (*map(inline.feed, texts), inline.close(is_whole=is_whole)):
        if piece.retracted:
            reasoning, answer = reasoning + answer, ""
        reasoning, answer = reasoning + piece.reasoning, answer + piece.answer
    return reasoning, answer


def test_a_closing_tag_alone_teaches_that_the_prompt_opens_the_block() -> None:
    """The first time the reasoning has been told as text; the second time it is held back."""
    habit = ReasoningHabit("some-model")

    first = divided(InlineReasoning(habit), ["Let me see.\n", "</think>\n\n", "Yes."])
    second = InlineReasoning(habit)
    early = second.feed("Let me see.\n")

    assert first == ("Let me see.\n", "Yes.")
    assert (early.reasoning, early.answer) == ("Let me see.\n", "")
    assert divided(second, ["</think>\n\nNo."]) == ("", "No.")


@pytest.mark.parametrize("model", ["deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "Qwen/QwQ-32B", "qwen3-4b-thinking-2507"])
def test_some_families_are_known_by_name(model: str) -> None:
    assert ReasoningHabit(model).begins_inside


@pytest.mark.parametrize("model", ["llama3.1:8b", "gemma2:9b", "phi3:mini", "qwen3:4b", "mr1x"])
def test_others_are_not_held_back(model: str) -> None:
    assert not ReasoningHabit(model).begins_inside


def test_a_wrong_guess_costs_the_stream_and_not_the_answer() -> None:
    habit = ReasoningHabit("r1")

    _, answer = divided(InlineReasoning(habit), ["Yes, ", "it is."])

    assert answer == "Yes, it is."
    assert not habit.begins_inside


def test_a_text_that_was_cut_within_its_reasoning_is_no_answer() -> None:
    habit = ReasoningHabit("r1")

    assert divided(InlineReasoning(habit), ["Let me see, "], is_whole=False) == ("Let me see, ", "")
    assert habit.begins_inside


def test_a_server_that_tells_them_apart_itself_is_believed() -> None:
    habit = ReasoningHabit("r1")
    inline = InlineReasoning(habit)

    inline.note_separate()

    assert inline.feed("Yes.").answer == "Yes."
    assert not habit.begins_inside

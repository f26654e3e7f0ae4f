"""Who has the last word in a conversation, and what is asked then."""

from __future__ import annotations

import msgspec
import pytest

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Image, ToolCall, Turn
from llm_pool.server.chat import turn
from llm_pool.server.last_word import last_word

PICTURE = Image("image/png", "iVBORw0KGgo=")


@pytest.mark.parametrize(
    ("turns", "asked", "earlier"),
    [
        ("u:hi", "hi", ""),
        ("s:brief u:hi", "hi", "s:brief"),
        ("u:hi a:hello u:so", "so", "u:hi a:hello"),
        ("u:hi s:kind", "hi", "s:kind"),
        ("u:a u:b", "b", "u:a"),
        ("u:hi a: u:so", "so", "u:hi"),
        ("u:hi a:", "hi", ""),
    ],
)
def test_the_users_last_word_is_the_question(turns: str, asked: str, earlier: str) -> None:
    """What was said before keeps its order; what says nothing is left out."""
    assert last_word(talk(turns), "messages") == (asked, (), talk(earlier))


@pytest.mark.parametrize(
    ("turns", "before"), [("u:hi a:Sure", "u:hi a:Sure"), ("u:q t:4", "u:q t:4"), ("u:q a:S s:kind", "u:q s:kind a:S")]
)
def test_a_begun_answer_and_results_are_gone_on_from(turns: str, before: str) -> None:
    """They end the turns, and nothing is asked anew."""
    assert last_word(talk(turns), "messages") == ("", (), talk(before))


def test_system_texts_alone_are_asked() -> None:
    """The last of them, as templates want a user."""
    assert last_word(talk("s:brief s:hello"), "messages") == ("hello", (), talk("s:brief"))


def test_pictures_and_calls_say_something_without_a_word() -> None:
    """The pictures go with the question."""
    shown = msgspec.structs.replace(turn("user", "", "messages[0]"), images=(PICTURE,))
    called = Turn("assistant", "", (ToolCall("1", "f", "{}"),))

    assert last_word([*talk("u:hi"), called, shown], "messages") == ("", (PICTURE,), (*talk("u:hi"), called))


@pytest.mark.parametrize("turns", ["", "u:", "s: u:"])
def test_without_a_word_there_is_nothing_to_answer(turns: str) -> None:
    """The field is named, and what would be right."""
    with pytest.raises(InvalidRequest, match=r"^input: nobody says anything"):
        last_word(talk(turns), "input")


def talk(turns: str) -> tuple[Turn, ...]:
    """``u:hi a:hello`` as turns; ``t:`` is what a tool gave."""
    roles = {"s": "developer", "u": "user", "a": "assistant"}
    return tuple(
        Turn("tool", said[2:]) if said[0] == "t" else turn(roles[said[0]], said[2:], "messages[0]")
        for said in turns.split()
    )

"""Pictures that tools give, shown by the user."""

from __future__ import annotations

import pytest

from llm_pool.core.messages import Image, Turn
from llm_pool.server.result_pictures import SHOWN, with_pictures_shown

ONE, TWO = Image("image/png", "b25l"), Image("image/png", "dHdv")
ASKED = Turn("user", "look")


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        ((), (Turn("user", SHOWN, images=(ONE, TWO)),)),
        ((Turn("user", "so?"),), (Turn("user", "so?", images=(ONE, TWO)),)),
        ((Turn("user", "and this?", images=(TWO,)),), (Turn("user", "and this?", images=(ONE, TWO, TWO)),)),
        (
            (Turn("assistant", "I see."), ASKED),
            (Turn("user", SHOWN, images=(ONE, TWO)), Turn("assistant", "I see."), ASKED),
        ),
    ],
)
def test_pictures_follow_the_last_result_in_a_row(after: tuple[Turn, ...], shown: tuple[Turn, ...]) -> None:
    """With what the user says next, or by themselves."""
    results = (Turn("tool", "a", tool_call_id="1", images=(ONE,)), Turn("tool", "b", tool_call_id="2", images=(TWO,)))
    plain = (Turn("tool", "a", tool_call_id="1"), Turn("tool", "b", tool_call_id="2"))

    assert with_pictures_shown([ASKED, *results, *after]) == [ASKED, *plain, *shown]


def test_a_conversation_without_them_stays_as_it_is() -> None:
    """The user's own pictures too."""
    turns = [
        Turn("user", "look", images=(ONE,)),
        Turn("assistant", "I see."),
        Turn("tool", "a", tool_call_id="1"),
        ASKED,
    ]

    assert with_pictures_shown(turns) == turns

"""What a program asks, as a Query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool import InvalidRequest, Query, StrategyName
from llm_pool.core.messages import Turn
from llm_pool.facade.questions import Options, query_of

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLES = st.sampled_from(["system", "user", "assistant"])
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": st.text(max_size=9)}), max_size=5)


def test_a_text_and_its_options() -> None:
    query = query_of("hello", {"strategy": "voting", "stop": ["\n", ""], "providers": ("a",), "system": "Be brief."})

    assert query == Query(
        prompt="hello",
        strategy=StrategyName.VOTING,
        stop=("\n",),
        providers=("a",),
        turns=(Turn("system", "Be brief."),),
    )


def test_an_object_is_json_and_a_query_stays_what_it_is() -> None:
    """Options lie over it."""
    assert query_of({"question": "é?"}, {"task": "judge"}) == Query(prompt='{"question":"é?"}', task="judge")
    assert query_of(Query(prompt="a", seed=1), {"seed": 2}) == Query(prompt="a", seed=2)


@given(MESSAGES)
def test_a_conversation_ends_with_the_question(messages: Sequence[Any]) -> None:
    """The user's last word; everything before it goes along, in its order."""
    if not messages or messages[-1]["role"] != "user":
        with pytest.raises(InvalidRequest, match="messages"):
            query_of(messages, {})
        return

    query = query_of(messages, {"system": "Be brief."})

    assert query.prompt == messages[-1]["content"]
    assert [(turn.role, turn.text) for turn in query.turns] == [
        ("system", "Be brief."),
        *((message["role"], message["content"]) for message in messages[:-1]),
    ]


@pytest.mark.parametrize("options", [{"stop": "x"}, {"providers": "a"}, {"strategy": "best"}, {"nope": 1}])
def test_a_wrong_option_is_named(options: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        query_of("hello", options)

    assert caught.value.field in options


def test_every_option_is_a_field_of_the_query() -> None:
    """Or the system text, which is a turn."""
    assert Options.__optional_keys__ - set(Query.__struct_fields__) == {"system"}

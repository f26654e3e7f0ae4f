"""Who decides whether a model thinks, and what it is given for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.providers.thinking import openai_fields, resolved, token_limit
from llm_pool.testing import a_call

if TYPE_CHECKING:
    from llm_pool.core.messages import Think

pytestmark = pytest.mark.anyio

SCHEMA: dict[str, Any] = {"type": "object"}


@pytest.mark.parametrize(
    ("asked", "own", "schema", "expected"),
    [
        (None, None, None, None),
        (None, None, SCHEMA, False),
        (None, True, SCHEMA, True),
        (None, False, None, False),
        (None, "low", None, "low"),
        ("high", False, SCHEMA, "high"),
        (False, True, None, False),
    ],
)
async def test_request_or_task_before_provider_before_the_kind_of_answer(
    asked: Think | None, own: Think | None, schema: dict[str, Any] | None, expected: Think | None
) -> None:
    assert resolved(a_call("x", think=asked, schema=schema), own) == expected


@pytest.mark.parametrize(
    ("think", "limit"), [(None, 100), (False, 100), ("low", 350), (True, 1100), ("medium", 1100), ("high", 4100)]
)
async def test_thinking_has_a_budget_beside_the_answer(think: Think | None, limit: int) -> None:
    assert token_limit(a_call("x", max_tokens=100, think_tokens=1000), think) == limit


async def test_an_answer_without_a_limit_has_none() -> None:
    assert token_limit(a_call("x", max_tokens=None), True) is None


async def test_the_fields_of_openai_shaped_servers() -> None:
    off, on = {"enable_thinking": False, "thinking": False}, {"enable_thinking": True, "thinking": True}

    assert openai_fields(None) == {}
    assert openai_fields(False) == {"chat_template_kwargs": off}
    assert openai_fields(True) == {"chat_template_kwargs": on}
    assert openai_fields("low") == {"chat_template_kwargs": on, "reasoning_effort": "low"}

"""What a sender's caps do to a query."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_pool.admission import admit
from llm_pool.config import parse
from llm_pool.messages import Caps, Query, Task

CONFIG = parse(
    "[qos]\nmax_deadline_ms = 3000\nmax_tokens_default = 256\n[tasks.slow]\ndeadline_ms = 60000\n"
    '[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n',
    Path("llm-pool.toml"),
)


@pytest.mark.parametrize(
    ("asked", "cap", "given"), [(None, 100, 100), (None, 1000, 256), (500, 100, 100), (50, 100, 50), (500, None, 500)]
)
def test_an_answer_is_no_longer_than_its_sender_may_have(asked: int | None, cap: int | None, given: int) -> None:
    """The cap lies over what is asked for and over the defaults, and raises neither."""
    query = Query(prompt="p", max_tokens=asked, caps=Caps(max_tokens=cap))

    call = admit(query, Task(name="ask", template="{{input}}"), CONFIG, now=0.0, stream=False)

    assert call.max_tokens == given


@pytest.mark.parametrize(
    ("task", "asked", "cap", "given"), [("ask", None, 1, 1), ("ask", 2, 1, 1), ("ask", 2, 9, 2), ("slow", 50, 9, 9)]
)
def test_a_deadline_is_no_later_than_the_sender_may_have(
    task: str, asked: float | None, cap: float, given: float
) -> None:
    """Whatever the task's own cap is."""
    query = Query(prompt="p", task=task, deadline=asked, caps=Caps(deadline=cap))

    call = admit(query, Task(name=task, template="{{input}}"), CONFIG, now=0.0, stream=False)

    assert call.deadline == given

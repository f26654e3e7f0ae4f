"""How long a request has: what it asks for up to the caps, else what is usual."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import parse
from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Caps, Query, Task
from llm_pool.engine.deadlines import ASK_DEADLINE, ASK_IDLE, LONGEST, TASK_DEADLINE, time_for

if TYPE_CHECKING:
    from llm_pool.config import Config

PROVIDER = '[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n'


def config(text: str = "") -> Config:
    """A configuration with one provider and *text*."""
    return parse(f"{text}\n{PROVIDER}", Path("llm-pool.toml"))


CAPPED = "[qos]\nmax_deadline_ms = 3000"
LONG = f"{CAPPED}\n[tasks.long]\ndeadline_ms = 60000"


@pytest.mark.parametrize(
    ("text", "task", "asked", "given"),
    [
        ("", "ask", None, ASK_DEADLINE),
        ("", "rank", None, TASK_DEADLINE),
        ("", "ask", 300.0, 300.0),
        ("", "rank", 20.0, 20.0),
        ("", "rank", 10 * LONGEST, LONGEST),
        (CAPPED, "ask", None, 3.0),
        (CAPPED, "rank", None, 3.0),
        (CAPPED, "rank", 20.0, 3.0),
        (CAPPED, "rank", 1.0, 1.0),
        (LONG, "long", None, 60.0),
        (LONG, "long", 90.0, 60.0),
        ("[tasks.long]\ndeadline_ms = 60000", "long", 90.0, 90.0),
    ],
)
def test_the_cap_is_the_operators_and_only_where_he_sets_one(
    text: str, task: str, asked: float | None, given: float
) -> None:
    """A file of providers alone gives plain questions a minute, and everybody what he asks for."""
    query = Query(prompt="p", task=task, deadline=asked)

    assert time_for(query, Task(name=task, template=""), config(text), flows=False).span == given


def test_what_a_prompt_file_suggests_is_a_default_that_is_no_longer_than_the_general_one() -> None:
    """It shortens it."""
    query = Query(prompt="p", task="rank")

    times = [
        time_for(query, Task(name="rank", template="", deadline=own), config(CAPPED), flows=False) for own in (1, 9)
    ]
    assert [time.span for time in times] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("text", "caps", "key"),
    [
        (CAPPED, Caps(), "qos.max_deadline_ms"),
        (LONG, Caps(), "tasks.long.deadline_ms"),
        (LONG, Caps(deadline=2.0), "tenancy.acme.max_deadline_ms"),
    ],
)
def test_who_asks_for_more_is_told_which_key_gave_less(text: str, caps: Caps, key: str) -> None:
    """And how much it gave."""
    query = Query(prompt="p", task="long", deadline=90.0, caps=caps, tenant_id="acme")

    time = time_for(query, Task(name="long", template=""), config(text), flows=False)

    assert time.cut == f"the deadline is {time.span * 1000:.0f} ms, not the 90000 ms asked for: {key}"


@pytest.mark.parametrize(
    ("text", "task", "asked", "flows", "idle"),
    [
        ("", "ask", None, True, ASK_IDLE),
        ("", "ask", None, False, None),
        ("", "ask", 5.0, True, None),
        ("", "tell", None, True, None),
        ("[tasks.ask]\nidle_ms = 2000", "ask", None, True, 2.0),
        ("[tasks.tell]\nidle_ms = 2000", "tell", None, True, 2.0),
    ],
)
def test_what_flows_may_pause(text: str, task: str, asked: float | None, flows: bool, idle: float | None) -> None:
    """A deadline that is asked for is one to the end."""
    query = Query(prompt="p", task=task, deadline=asked)

    assert time_for(query, Task(name=task, template=""), config(text), flows=flows).idle == idle


@given(
    asked=st.none() | st.floats(0.001, 1e9),
    general=st.none() | st.integers(1, 86_400_000),
    tenants=st.none() | st.floats(0.001, 1e6),
    flows=st.booleans(),
)
def test_no_time_is_longer_than_any_cap(
    asked: float | None, general: int | None, tenants: float | None, flows: bool
) -> None:
    """And a deadline that was asked for is never exceeded, whatever flows."""
    text = "" if general is None else f"[qos]\nmax_deadline_ms = {general}"
    query = Query(prompt="p", deadline=asked, caps=Caps(deadline=tenants))

    time = time_for(query, Task(name="ask", template=""), config(text), flows=flows)

    caps = [LONGEST, *([general / 1000] if general is not None else []), *([tenants] if tenants is not None else [])]
    assert 0 < time.span <= min(caps)
    assert time.span <= time.longest <= min(LONGEST, tenants or LONGEST)
    if asked is not None:
        assert time.longest == time.span <= asked
        assert bool(time.cut) == (time.span < asked)


@pytest.mark.parametrize("asked", [0.0, -1.0, float("nan")])
def test_no_time_at_all_is_refused(asked: float) -> None:
    """The field is named."""
    with pytest.raises(InvalidRequest, match="deadline_ms"):
        time_for(Query(prompt="p", deadline=asked), Task(name="ask", template=""), config(), flows=False)

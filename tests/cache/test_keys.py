"""What makes two requests the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.cache.keys import cache_key, fingerprint
from llm_pool.core.messages import Query, StrategyName
from llm_pool.engine.panel import Panel, Plan
from llm_pool.testing import Reply, ScriptedProvider, a_call, a_panel

if TYPE_CHECKING:
    from llm_pool.core.interfaces import Member

pytestmark = pytest.mark.anyio


def planned(*, members: list[Member] | None = None, strategy: StrategyName = StrategyName.VOTING, **call: Any) -> Plan:
    panel = a_panel(ScriptedProvider("a", Reply("x"))) if members is None else members
    return Plan(a_call(**call), strategy, Panel(tuple(panel), ()))


async def test_equal_requests_have_equal_keys_whenever_they_come() -> None:
    """Neither the time nor the id of a request is part of its answer."""
    early, late = planned(), planned(request_id="another", began=7.0, deadline=9.0)

    assert cache_key(Query(prompt="p"), early, []) == cache_key(Query(prompt="p", request_id="x"), late, [])


@pytest.mark.parametrize(
    "other",
    [
        {"strategy": StrategyName.JUDGE},
        {"input": "another prompt"},
        {"max_tokens": 7},
        {"temperature": 0.9},
        {"seed": 4},
        {"members": []},
    ],
    ids=str,
)
async def test_whatever_shapes_an_answer_is_in_its_key(other: dict[str, Any]) -> None:
    """Strategy, input, parameters and panel."""
    assert cache_key(Query(prompt="p"), planned(), []) != cache_key(Query(prompt="p"), planned(**other), [])


async def test_a_new_prompt_version_is_another_key() -> None:
    """An edited prompt file leaves no stale answers behind."""
    plan = planned()
    newer = msgspec.structs.replace(plan.call, task=msgspec.structs.replace(plan.call.task, version="2"))

    assert cache_key(Query(prompt="p"), plan, []) != cache_key(
        Query(prompt="p"), msgspec.structs.replace(plan, call=newer), []
    )


async def test_another_weight_or_model_is_another_panel() -> None:
    """The configuration of the panel decides too."""
    provider = ScriptedProvider("a", Reply("x"))

    light, heavy = (
        planned(members=a_panel(provider, weights=(1.0,))),
        planned(members=a_panel(provider, weights=(2.0,))),
    )

    assert cache_key(Query(prompt="p"), light, []) != cache_key(Query(prompt="p"), heavy, [])


async def test_tenants_never_share_a_key() -> None:
    """Whatever ``key_fields`` says."""
    plan = planned()

    assert cache_key(Query(prompt="p", tenant_id="a"), plan, []) != cache_key(
        Query(prompt="p", tenant_id="b"), plan, []
    )


async def test_configured_fields_tell_answers_apart() -> None:
    """``project_id`` and ``meta`` count only where the configuration says so."""
    plan, one, two = planned(), Query(prompt="p", project_id="1"), Query(prompt="p", project_id="2")

    assert cache_key(one, plan, []) == cache_key(two, plan, [])
    assert cache_key(one, plan, ["project_id"]) != cache_key(two, plan, ["project_id"])


def test_a_border_that_moves_makes_another_key() -> None:
    """``ab`` + ``c`` is not ``a`` + ``bc``: every part has its length in it."""
    assert fingerprint(Query(prompt="ab", project_id="c")) != fingerprint(Query(prompt="a", project_id="bc"))


def test_a_fingerprint_is_of_everything_but_id_and_deadline() -> None:
    """A retry may have less time left; another prompt is another request."""
    first = Query(prompt="p", request_id="1", deadline=1.0)

    assert fingerprint(first) == fingerprint(Query(prompt="p", request_id="2", deadline=0.5))
    assert fingerprint(first) != fingerprint(Query(prompt="q", request_id="1", deadline=1.0))


async def test_numbers_of_any_length_are_told_apart() -> None:
    """An input may hold more digits than any machine's integer."""
    one, other = planned(input={"n": 10**40}), planned(input={"n": 10**40 + 1})

    assert cache_key(Query(prompt="p"), one, []) != cache_key(Query(prompt="p"), other, [])

"""Who is who, and what they may ask."""

from __future__ import annotations

from typing import Any

import pytest

from llm_pool.config.models import TenantSettings
from llm_pool.config.values import Scope, Secret
from llm_pool.core.errors import PermissionDenied, Unauthenticated
from llm_pool.core.messages import Caps, Query, StrategyName
from llm_pool.security import ANONYMOUS, Grant, Principal
from llm_pool.security.authorization import authorized_query
from llm_pool.security.hmac import Slot
from llm_pool.security.jwt import Claims
from llm_pool.security.keys import Key, Kind, digest_of
from llm_pool.security.tenants import Tenants, grant_of

ACME = TenantSettings(api_key=Secret("one"), next_api_key=Secret("two"), rate_limit_rps=4.0, max_deadline_ms=1500)
CARRIED = Key(
    id="c-1", tenant="acme", kind=Kind.BEARER, slots={"a": Slot(secret=digest_of("three"), not_after=10.0)}, created=0
)


def claims(tenant: str, *scopes: Scope) -> Claims:
    return Claims("robot", tenant, "p1", frozenset(scopes))


def test_a_tenant_is_found_by_each_of_its_secrets() -> None:
    """In the file or in the configuration; in its time."""
    tenants = Tenants({"acme": ACME}, {"c-1": CARRIED})

    assert [tenants.by_bearer(token, wall=5.0) for token in ("one", "two", "three")] == [
        (tenants.by_key("acme"), "a"),
        (tenants.by_key("acme"), "b"),
        (tenants.by_key("c-1"), "a"),
    ]
    for token, wall in (("three", 10.0), ("four", 5.0), ("", 5.0), (digest_of("three"), 5.0)):
        with pytest.raises(Unauthenticated):
            tenants.by_bearer(token, wall=wall)


def test_a_bearer_key_signs_nothing() -> None:
    """Its digest is no secret of a signature, though it stands in the same place."""
    tenants = Tenants({"acme": ACME}, {"c-1": CARRIED})

    assert tenants.slots("c-1") is None
    assert tenants.slots("nobody") is None
    assert {name: slot.secret for name, slot in (tenants.slots("acme") or {}).items()} == {"a": "one", "b": "two"}


def test_a_token_speaks_for_tenants_that_are_served() -> None:
    """Each by its own table, or by the one for all; its scopes are its own."""
    known = Tenants({"acme": ACME}, {})
    open_to_any = Tenants({"acme": ACME, "*": TenantSettings(max_tokens=5)}, {})

    assert known.by_claims(claims("acme", Scope.OBSERVE)).scopes == {Scope.OBSERVE}
    assert open_to_any.by_claims(claims("new")).grant.caps.max_tokens == 5
    assert open_to_any.by_claims(claims("new")).tenant_id == "new"
    for tenants, tenant in ((known, "new"), (open_to_any, "*")):
        with pytest.raises(PermissionDenied):
            tenants.by_claims(claims(tenant))


def test_a_burst_is_a_seconds_worth_where_it_is_not_said() -> None:
    """And one request at least."""
    assert (grant_of(ACME).rate, grant_of(ACME).burst) == (4.0, 4.0)
    assert grant_of(TenantSettings(rate_limit_rps=0.1)).burst == 1.0
    assert grant_of(TenantSettings(rate_limit_rps=4, rate_limit_burst=9)).burst == 9.0
    assert grant_of(ACME).caps == Caps(deadline=1.5)


def sender(**grant: Any) -> Principal:
    return Principal(name="k", tenant_id="acme", grant=Grant(**grant))


def ask(principal: Principal, **query: Any) -> Query:
    return authorized_query(principal, Query(prompt="p", **query), lambda _task: StrategyName.JUDGE)


def test_a_query_is_its_senders_own() -> None:
    """Tenant, project and caps are the sender's, whatever the query says or leaves out."""
    principal = Principal(name="k", tenant_id="acme", project_id="p1", grant=Grant(caps=Caps(max_tokens=5)))

    query = ask(principal)

    assert (query.tenant_id, query.project_id, query.caps.max_tokens) == ("acme", "p1", 5)
    assert ask(sender(), project_id="any").project_id == "any"


@pytest.mark.parametrize("said", [{"tenant_id": "other"}, {"tenant_id": "ACME"}, {"project_id": "p2"}])
def test_a_query_speaks_for_nobody_else(said: dict[str, str]) -> None:
    """Letter by letter."""
    principal = Principal(name="k", tenant_id="acme", project_id="p1")

    with pytest.raises(PermissionDenied, match="not yours"):
        ask(principal, **said)


def test_tasks_and_strategies_are_those_that_were_given() -> None:
    """An explicit one is refused; where the query leaves it open, the first of ours stands in."""
    one = sender(tasks=("ask",), strategies=(StrategyName.FASTEST, StrategyName.VOTING))

    assert ask(one, task="ask").strategy is StrategyName.FASTEST
    assert ask(one, strategy=StrategyName.VOTING).strategy is StrategyName.VOTING
    assert ask(sender(strategies=(StrategyName.FASTEST, StrategyName.JUDGE))).strategy is None
    for refused in ({"task": "judge"}, {"strategy": StrategyName.CONSENSUS}):
        with pytest.raises(PermissionDenied):
            ask(one, **refused)


def test_where_nobody_authenticates_a_query_stays_as_it_is() -> None:
    """The tenant it names is a label then, and no more."""
    query = Query(prompt="p", tenant_id="whoever")

    assert authorized_query(ANONYMOUS, query, lambda _task: StrategyName.JUDGE) is query

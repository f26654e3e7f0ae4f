"""What makes an answer right, task by task: a name and a number in [0, 1] for each measure."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

from tools.pocket.grammar import world
from tools.pocket.oracle import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tools.pocket.grammar import Asset, Choice, Incident, Search, Visit


def kendall_tau(found: Sequence[str], right: Sequence[str]) -> float:
    """
    Agreement of two orders of the same things, in [-1, 1]; -1 if they are not the same things.

    Source: Kendall 1938, A new measure of rank correlation.
    """
    if sorted(found) != sorted(right):
        return -1.0
    pairs = list(combinations(right, 2))
    agreed = sum(found.index(first) < found.index(second) for first, second in pairs)
    return 2 * agreed / len(pairs) - 1


def of_expand_queries(case: Search, found: dict[str, Any]) -> dict[str, float]:
    """Every term kept, and a related term of the right genre added."""
    related = world()["genres"].get(case.genre, found["optional"])
    return {
        "keeps every term": set(case.terms) <= set(found["must_include"]),
        "adds terms of the genre": set(related) <= set(found["optional"]),
    }


def of_enrich_metadata(case: Asset, found: dict[str, Any]) -> dict[str, float]:
    """Within the limits, and about this asset."""
    told = " ".join((found["title"], found["one_liner"]))
    return {
        "within the limits": len(found["title"]) <= 60
        and len(found["one_liner"]) <= 120
        and 4 <= len(found["tags"]) <= 8,
        "names subject and place": case.subject in told and case.place in told,
        "tags from the asset": all(tag.lower() in case.text.lower() for tag in found["tags"]),
    }


def of_recovery_plan(case: Incident, found: dict[str, Any]) -> dict[str, float]:
    """The playbook's steps, and how bad it is."""
    right = ANSWERS["recovery_plan"](case)
    return {
        "right playbook": found["steps"] == right["steps"],
        "right severity": found["severity"] == right["severity"],
    }


def of_site_tactics(case: Visit, found: dict[str, Any]) -> dict[str, float]:
    """All tactics, and in the order in which a visitor needs them."""
    right = ANSWERS["site_tactics"](case)
    return {"right tactics in order": found == right}


def of_judge(case: Choice, found: dict[str, Any]) -> dict[str, float]:
    """The oracle's candidate; ``by chance`` is what a coin would get."""
    return {
        "picks the best": found["winner_id"] == ANSWERS["judge"](case)["winner_id"],
        "by chance": 1 / len(case.candidates),
        f"by {case.sign}": found["winner_id"] == ANSWERS["judge"](case)["winner_id"],
    }


def of_rerank_candidates(case: Choice, found: dict[str, Any]) -> dict[str, float]:
    """How near to the oracle's order."""
    right = ANSWERS["rerank_candidates"](case)["ranking"]
    tau = kendall_tau(found["ranking"], right)
    return {"Kendall tau": tau, "exact order": tau == 1, f"tau by {case.sign}": tau}


MEASURES: dict[str, Callable[[Any, Any], dict[str, float]]] = {
    "expand_queries": of_expand_queries,
    "enrich_metadata": of_enrich_metadata,
    "recovery_plan": of_recovery_plan,
    "site_tactics": of_site_tactics,
    "judge": of_judge,
    "rerank_candidates": of_rerank_candidates,
}

"""Trust: beliefs before and after what was seen."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.interfaces import Member
from llm_pool.testing import Reply, ScriptedProvider
from llm_pool.trust.model import HALF_LIFE, JUDGE_ACCURACY, PRIOR, PanelAnswer, PanelOutcome, Record, Trust


def member(name: str = "phi", weight: float = 1.0) -> Member:
    return Member(provider=ScriptedProvider(name, Reply("")), model=name, weight=weight, group=name, rank=0)


def panel_outcome(*clusters: str, traits: tuple[str, ...] = ()) -> PanelOutcome:
    """``panel_outcome("phi llama", "gemma")``: the first two agreed and won."""
    return PanelOutcome(
        "sum", tuple(PanelAnswer(name, index, traits) for index, names in enumerate(clusters) for name in names.split())
    )


def test_before_anything_is_seen_the_weight_is_the_odds() -> None:
    """A weight of 1 is even, of 3 three to one."""
    trust = Trust()

    assert trust.probability(member(weight=1.0), "sum") == pytest.approx(0.5)
    assert trust.log_odds(member(weight=3.0), "sum") == pytest.approx(math.log(3))
    assert trust.accuracy(member(), "sum") == pytest.approx(JUDGE_ACCURACY)
    assert not trust.has_learned("sum")


def test_the_prior_is_worth_fifty_observations() -> None:
    """After fifty wins the belief has moved half of the way, decay apart."""
    trust = Trust()

    for _ in range(int(PRIOR)):
        trust.learn(panel_outcome("phi", "gemma"), "feedback")

    assert trust.probability(member(), "sum") == pytest.approx(0.75, abs=0.01)
    assert trust.probability(member("gemma"), "sum") == pytest.approx(0.25, abs=0.01)
    assert trust.probability(member(), "other task") == 0.5


def test_feedback_teaches_more_than_a_judge_and_a_judge_more_than_the_panel() -> None:
    """Who says it matters."""
    learned = []
    for source in ("feedback", "judge", "decision"):
        trust = Trust()
        trust.learn(panel_outcome("phi", "gemma"), source)
        learned.append(trust.probability(member(), "sum"))

    assert learned == sorted(learned, reverse=True)
    assert learned[-1] > 0.5


def test_an_undivided_panel_teaches_nothing() -> None:
    """Where all agree, nobody earns anything over the others."""
    trust = Trust()

    trust.learn(panel_outcome("phi gemma"), "feedback")

    assert trust.trust_records() == []


def test_bad_feedback_says_who_was_wrong_and_not_who_was_right() -> None:
    """The others may have been wrong as well."""
    trust = Trust()

    trust.learn(panel_outcome("phi", "gemma"), "feedback", good=False)

    assert trust.probability(member(), "sum") < 0.5
    assert trust.probability(member("gemma"), "sum") == 0.5


def test_old_observations_fade() -> None:
    """Half is gone after the half-life."""
    record = Record(wins=100.0)

    for _ in range(int(HALF_LIFE)):
        record.add(right=False, strength=1.0)

    assert record.wins == pytest.approx(50.0, rel=0.01)


def test_traits_count_once_they_have_proved_to_tell() -> None:
    """An unseen trait says nothing; one that went along with being wrong lowers the vote, and the bound holds."""
    trust = Trust()
    before = trust.vote(member(), "sum", ("form:prose",))
    for _ in range(40):
        trust.observe("sum", PanelAnswer("phi", 0, ("form:integer",)), "feedback", right=True)
        trust.observe("sum", PanelAnswer("phi", 0, ("form:prose",)), "feedback", right=False)

    assert before == pytest.approx(Trust().vote(member(), "sum"))
    assert trust.vote(member(), "sum", ("form:prose",)) < trust.vote(member(), "sum", ("form:integer",))
    assert trust.max_vote(member(), "sum") >= trust.vote(member(), "sum", ("form:integer",))


@given(st.floats(1e-9, 1e18), st.integers(0, 300), st.integers(0, 300))
def test_votes_are_positive_and_finite(weight: float, wins: int, losses: int) -> None:
    """Whatever the weight and the record."""
    trust = Trust({"sum": {"provider:phi": Record(wins, losses)}})

    assert 0 < trust.vote(member(weight=weight), "sum") < math.inf


def test_json_gives_back_the_same_trust() -> None:
    """And the same bytes for the same records, whatever the order they were learned in."""
    trust = Trust()
    trust.learn(panel_outcome("phi", "gemma", traits=("form:word",)), "feedback")
    trust.learn_judge("llama", "sum", right=True)

    again = Trust.from_json(trust.to_json())

    assert again.trust_records() == trust.trust_records()
    assert again.to_json() == trust.to_json()
    assert again.accuracy(member("llama"), "sum") > JUDGE_ACCURACY


@pytest.mark.parametrize("data", [b"", b"[]", b'{"sum": {"provider:phi": {"wins": -1}}}', b'{"sum": 3}'])
def test_nonsense_is_refused(data: bytes) -> None:
    """A damaged file is no trust."""
    with pytest.raises(msgspec.DecodeError):
        Trust.from_json(data)


def test_forgetting_reaches_as_far_as_asked() -> None:
    """One provider on one task, one provider, one task, all."""

    def fresh() -> Trust:
        trust = Trust()
        for task in ("sum", "tags"):
            trust.learn(PanelOutcome(task, panel_outcome("phi", "gemma").answers_given), "feedback")
        return trust

    def left(trust: Trust) -> set[tuple[str, str]]:
        return {(s.task, s.expert) for s in trust.trust_records() if s.expert}

    trust = fresh()
    trust.forget(provider="phi", task="sum")
    assert left(trust) == {("sum", "provider:gemma"), ("tags", "provider:gemma"), ("tags", "provider:phi")}

    trust = fresh()
    trust.forget(provider="phi")
    assert left(trust) == {("sum", "provider:gemma"), ("tags", "provider:gemma")}

    trust.forget(task="sum")
    assert left(trust) == {("tags", "provider:gemma")}

    trust.forget()
    assert trust.trust_records() == []

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
        trust.learn(panel_outcome("phi llama", "gemma"), source)
        learned.append(trust.probability(member(), "sum"))

    assert learned == sorted(learned, reverse=True)
    assert learned[-1] > 0.5


def test_an_undivided_panel_teaches_nothing() -> None:
    """Where all agree, nobody earns anything over the others."""
    trust = Trust()

    trust.learn(panel_outcome("phi gemma"), "feedback")

    assert trust.trust_records() == []


@pytest.mark.parametrize("clusters", [("phi", "gemma", "llama"), ("phi llama", "gemma qwen"), ("phi", "gemma llama")])
def test_a_decision_that_no_two_carried_teaches_nothing(clusters: tuple[str, ...]) -> None:
    """A tie-break or a lone winner that counted as a win would confirm itself; a person's word counts all the same."""
    trust = Trust()

    trust.learn(panel_outcome(*clusters), "decision")
    assert trust.trust_records() == []

    trust.learn(panel_outcome(*clusters), "feedback")
    assert trust.trust_records()


def test_common_traits_are_not_punished_while_little_is_known() -> None:
    """Where one answer in ten is right, a trait that all answers have says nothing, after ten answers already."""
    trust = Trust()
    for number in range(10):
        trust.observe("sum", PanelAnswer("phi", 0, ("form:integer",)), "feedback", right=number == 0)

    plain, with_trait = (trust.vote(member("new"), "sum", traits) for traits in ((), ("form:integer",)))

    assert with_trait == pytest.approx(plain, abs=0.2)


def test_a_judge_is_marked_where_the_truth_is_known() -> None:
    """Chosen or not, where the answer was good; where it was bad, at most as far as another may have been right."""

    def accuracy(*, chose_it: bool, good: bool) -> float:
        trust = Trust()
        trust.learn_judge("j", "sum", chose_it=chose_it, good=good)
        return trust.accuracy(member("j"), "sum") - JUDGE_ACCURACY

    assert accuracy(chose_it=True, good=True) > 0
    assert accuracy(chose_it=False, good=True) < accuracy(chose_it=True, good=False) < 0
    assert accuracy(chose_it=False, good=False) == 0


def test_a_tenant_teaches_nobody_else() -> None:
    """What the operator taught counts for all; what a tenant taught, for itself."""
    trust = Trust()
    for _ in range(100):
        trust.of("beta").learn(panel_outcome("phi", "gemma"), "feedback", good=False)

    assert trust.of("beta").probability(member(), "sum") < 0.3
    assert trust.of("acme").probability(member(), "sum") == trust.probability(member(), "sum") == 0.5

    trust.learn(panel_outcome("gemma", "phi"), "feedback")

    assert trust.of("acme").probability(member("gemma"), "sum") == trust.probability(member("gemma"), "sum") > 0.5
    assert Trust.from_json(trust.to_json()).of("beta").probability(member(), "sum") < 0.3


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tenants there are."""
    monkeypatch.setattr("llm_pool.trust.model.TASKS", 3)
    trust = Trust()

    for number in range(9):
        trust.of(f"t{number}").learn(panel_outcome("phi", "gemma"), "feedback")

    assert {standing.task for standing in trust.trust_records()} == {"t6/sum", "t7/sum", "t8/sum"}


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
    trust.learn_judge("llama", "sum", chose_it=True, good=True)

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


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=120), st.floats(0, 30), st.floats(0, 30))
def test_a_greater_margin_never_means_less_confidence(labels: list[tuple[float, bool]], one: float, two: float) -> None:
    """And it is a share, of which nothing is said while little is labelled."""
    trust = Trust()
    for margin, right in labels:
        trust.learn_margin("sum", margin, right=right)

    low, high = (trust.confidence("sum", margin) for margin in sorted((one, two)))

    assert (low is None) == (high is None)
    if low is not None and high is not None:
        assert 0 <= low <= high < 1


def labelled(trust: Trust, task: str, *, right_of_ten: int, margin: float = 4.0, times: int = 10) -> Trust:
    for number in range(10 * times):
        trust.learn_margin(task, margin, right=number % 10 < right_of_ten)
    return trust


def test_what_is_labelled_counts_at_once_and_for_the_tenant_that_said_so() -> None:
    """What was worked out before is worked out anew; the operator's labels count for all."""
    trust = labelled(Trust(), "sum", right_of_ten=9)
    before = [trust.of(who).confidence("sum", 4.0) for who in ("", "acme", "beta")]

    labelled(trust.of("acme"), "sum", right_of_ten=2)
    after = [trust.of(who).confidence("sum", 4.0) for who in ("", "acme", "beta")]
    labelled(trust, "sum", right_of_ten=0, times=50)
    at_last = [trust.of(who).confidence("sum", 4.0) for who in ("", "acme", "beta")]

    assert before[0] == before[1] == before[2] == pytest.approx(0.9, abs=0.03)
    assert after[0] == after[2] == before[0]
    assert all(value is not None for value in (*after, *at_last))
    assert after[1] == pytest.approx(0.55, abs=0.05)
    assert max(value or 0.0 for value in at_last) < 0.4
    assert Trust.from_json(trust.to_json()).of("acme").confidence("sum", 4.0) == at_last[1]
    trust.forget()
    assert trust.of("acme").confidence("sum", 4.0) is None


def test_a_hard_tasks_margins_are_worth_less_than_an_easy_ones() -> None:
    """The same lead, right nine times of ten here and four times there; a task without labels says nothing."""
    trust = labelled(labelled(Trust(), "easy", right_of_ten=9), "hard", right_of_ten=4)

    easy, hard = trust.confidence("easy", 4.0), trust.confidence("hard", 4.0)

    assert easy == pytest.approx(0.9, abs=0.03)
    assert hard == pytest.approx(0.65, abs=0.03)  # with the easy ones above it: of all that are given so many are right
    assert trust.confidence("new", 4.0) is None

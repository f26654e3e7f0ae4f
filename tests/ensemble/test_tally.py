"""The verdict on given answers, by shape of task; whatever order they came in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_pool.core.interfaces import Member
from llm_pool.core.messages import Attempt, Call, Prompt, Reading, Task
from llm_pool.ensemble.ballots import Ballot, shown_ids, valid_ballots
from llm_pool.ensemble.tally import NO_WEIGHTS_NOTE, tally
from llm_pool.ensemble.voting import EqualWeights
from llm_pool.tasks import reorder
from llm_pool.testing import Reply, ScriptedProvider
from llm_pool.trust.model import PanelAnswer, PanelOutcome, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json

TAGS = {
    "type": "object",
    "required": ["title", "tags"],
    "properties": {
        "title": {"type": "string", "maxLength": 20},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
    },
    "additionalProperties": False,
}


def call(kind: str, **changes: Any) -> Call:
    field = {"value": "answer", "ranking": "ranking"}.get(kind, "")
    task = Task(name="t", template="{{input}}", kind=kind, field=field, ids_from="items[]")  # type: ignore[arg-type]
    fields: dict[str, Any] = {"input": "", "schema": None, "ids": (), **changes}
    return Call(
        request_id="r",
        task=task,
        prompt=Prompt("", ""),
        max_tokens=1,
        temperature=0,
        began=0,
        deadline=1,
        **fields,
    )


def panel(count: int, weights: Sequence[float] = ()) -> list[Member]:
    return [
        Member(
            provider=ScriptedProvider(f"p{rank}", Reply("")),
            model="m",
            weight=weights[rank] if weights else 1.0,
            group=f"g{rank}",
            rank=rank,
        )
        for rank in range(count)
    ]


def attempts(answers: Sequence[Json], why: str = "vote") -> list[Attempt]:
    """One valid attempt per answer, of p0, p1, ...; text answers are strings."""
    return [
        Attempt(
            provider=f"p{index}",
            model="m",
            outcome="ok",
            started=0,
            duration=1,
            why=why,
            reading=Reading(answer, None) if isinstance(answer, str) else Reading(json.dumps(answer), answer),
        )
        for index, answer in enumerate(answers)
    ]


def ballots(asked: Call, answers: Sequence[Json], weights: Sequence[float] = ()) -> list[Ballot]:
    return valid_ballots(asked, panel(len(answers), weights), attempts(answers), EqualWeights())


def values(*answers: object) -> list[dict[str, object]]:
    return [{"answer": answer} for answer in answers]


@pytest.mark.parametrize(
    ("answers", "weights", "winner", "reason"),
    [
        ((1, 2, "2.0"), (9, 1, 1), "p1", "p1 and p2: 2 votes against 1"),
        ((1, 2, 3), (0.6, 1.0, 0.8), "p1", "1 votes each; p1 won by the greater weight"),
        ((1, 2, 3), (1, 1, 1), "p0", "1 votes each; p0 won by being earlier in the file"),
        ((1, 1, 2, 2), (0.1, 0.1, 0.1, 0.2), "p3", "2 votes each; p2 and p3 won by the greater weight"),
        ((5, 5), (1, 2), "p1", "all say the same"),
        ((5,), (1,), "p0", "p0 gave the only valid answer that came"),
    ],
)
def test_values_go_to_the_most_votes_then_weight_then_the_file(
    answers: tuple[object, ...], weights: tuple[float, ...], winner: str, reason: str
) -> None:
    """A heavy minority does not win here; the heaviest of the winners is quoted."""
    verdict = tally(call("value"), ballots(call("value"), values(*answers), weights))

    assert (verdict.winner.name, verdict.reason) == (winner, reason)


def test_the_wording_most_of_the_winners_use_is_quoted() -> None:
    """Three mean the same, two of them write it alike."""
    verdict = tally(call("value"), ballots(call("value"), values("Ab  cd", "Ab cd", "Ab cd"), (9, 1, 1)))

    assert verdict.winner.name == "p1"


# Objects


def card(title: str, *tags: str, **more: str) -> dict[str, Any]:
    return {"title": title, "tags": list(tags), **more}


def test_objects_are_mixed_field_by_field_and_validated() -> None:
    """Nobody wrote it, it fits the schema, and the nearest provider is named."""
    asked = call("object", schema=TAGS)
    answers = [card("Red", "a", "b"), card("Blue", "a", "b"), card("Red", "x", "y")]

    verdict = tally(asked, ballots(asked, answers))

    assert verdict.reading.value == card("Red", "a", "b")
    assert json.loads(verdict.reading.content) == verdict.reading.value
    assert verdict.winner.name == "p0"
    assert verdict.scores == {"p0": 1.0, "p1": 0.5, "p2": 0.5}


def test_an_invalid_mix_is_never_the_answer() -> None:
    """The mix misses what the schema demands across fields: the medoid object stands in."""
    schema = {**TAGS, "not": {"properties": {"title": {"const": "Red"}, "tags": {"const": ["a", "b"]}}}}
    asked = call("object", schema=schema)
    answers = [card("Red", "a", "c"), card("Blue", "a", "b"), card("Red", "x", "b")]

    verdict = tally(asked, ballots(asked, answers))

    assert verdict.reading.value in answers
    assert "was not valid" in verdict.notes[0]


def test_an_object_more_than_half_wrote_is_taken_whole() -> None:
    """The order of tags does not matter; nothing is mixed into it."""
    asked = call("object", schema=TAGS)

    verdict = tally(asked, ballots(asked, [card("Red", "a", "b"), card("Blue", "z"), card("red", "b", "a")]))

    assert verdict.reading.value == card("Red", "a", "b")
    assert verdict.support == 2


# Rankings


def ranked(*lists: str) -> list[dict[str, object]]:
    return [{"ranking": list(ids)} for ids in lists]


def test_rankings_are_fused() -> None:
    """Two of three put b first, and b it is."""
    asked = call("ranking", ids=tuple("abc"), input={"items": list("abc")})

    verdict = tally(asked, ballots(asked, ranked("bca", "bac", "cab")))

    assert verdict.reading.value["ranking"] == ["b", "c", "a"] or verdict.reading.value["ranking"] == ["b", "a", "c"]
    assert verdict.winner.name in {"p0", "p1"}
    assert verdict.reason == "fused 3 rankings"


def test_a_list_given_back_as_shown_is_an_abstention() -> None:
    """Whoever read nothing has no say, though two of three read nothing."""
    asked = call("ranking", ids=tuple("abcdef"), input={"items": list("abcdef")})
    idle = ["".join(shown_ids(asked, member)) for member in panel(3)[1:]]

    verdict = tally(asked, ballots(asked, ranked("fedcba", *idle)))

    assert verdict.reading.value["ranking"] == list("fedcba")
    assert verdict.winner.name == "p0"
    assert verdict.notes == ("p1, p2 gave the list back as it was: counted as an abstention",)


def test_what_was_not_shuffled_abstains_by_the_inputs_order() -> None:
    """Candidates gathered by another strategy saw the list as it came."""
    asked = call("ranking", ids=tuple("abc"), input={"items": list("abc")})

    verdict = tally(
        asked, valid_ballots(asked, panel(2), attempts(ranked("abc", "cba"), why="candidate"), EqualWeights())
    )

    assert verdict.winner.name == "p1"


def test_shown_ids_are_those_of_the_prompt() -> None:
    """The shuffle told again is the shuffle that was sent, another for each model."""
    asked = call("ranking", ids=tuple("abcdef"), input={"items": list("abcdef")})
    members = panel(3)

    for member in members:
        assert tuple(reorder(asked, f"r/{member.name}").input["items"]) == shown_ids(asked, member)
    assert len({shown_ids(asked, member) for member in members}) == 3


# Texts

NORTH = "Take the blue line north to the harbour and walk."
NORTHWARD = "Take the blue line northward to the harbour, then walk."
ODD = "I would rather cook some soup at home tonight."


def test_the_trusted_text_wins_unless_it_is_the_outlier_among_equals() -> None:
    """The heaviest wins with company, and loses when it stands apart and the others are nearly as trusted."""
    asked = call("text")

    with_company = tally(asked, ballots(asked, [NORTH, NORTHWARD, ODD], (0.8, 1.0, 0.8)))
    apart = tally(asked, ballots(asked, [NORTH, NORTHWARD, ODD], (0.8, 0.9, 1.2)))

    assert with_company.winner.name == "p1"
    assert apart.winner.name in {"p0", "p1"}
    assert "p2, more trusted, stands apart" in apart.reason


@given(odds=st.lists(st.floats(0.01, 100), min_size=3, max_size=3).filter(lambda found: max(found) > 1.51 * min(found)))
def test_the_clearly_most_trusted_text_is_never_passed_over(odds: list[float]) -> None:
    """However far it stands apart from the rest: there the pool is what its best model is."""
    asked = call("text")
    trusted = odds.index(max(odds))
    said = [NORTH, NORTHWARD]
    said.insert(trusted, ODD)

    assert tally(asked, ballots(asked, said, odds)).winner.name == f"p{trusted}"


@pytest.mark.parametrize(("times", "winner"), [(0, "p2"), (100, "p0")])
def test_how_far_models_are_apart_is_what_was_learned_where_there_is_enough(times: int, winner: str) -> None:
    """Configured far apart, the odd one most trusted; after a hundred of its answers were bad another one is."""
    asked, trust = call("text"), Trust()
    for _ in range(times):
        trust.learn(PanelOutcome("t", (PanelAnswer("p2", 0), PanelAnswer("p0", 1))), "feedback", good=False)
        trust.learn(PanelOutcome("t", (PanelAnswer("p0", 0), PanelAnswer("p1", 1))), "feedback")
    told = attempts([NORTH, NORTHWARD, ODD])

    verdict = tally(asked, valid_ballots(asked, panel(3, (0.5, 0.6, 1.0)), told, EqualWeights(trust)))

    assert verdict.winner.name == winner


def test_text_without_weights_says_that_it_is_not_to_be_trusted() -> None:
    """The medoid of the largest cluster, and a note for whoever reads the decision."""
    asked = call("text")

    verdict = tally(asked, ballots(asked, [ODD, NORTH, NORTHWARD, "What a question that is!"]))

    assert verdict.winner.name in {"p1", "p2"}
    assert NO_WEIGHTS_NOTE in verdict.notes


def test_refusals_and_empty_words_have_no_say() -> None:
    """Two refusals would be each other's best friends."""
    asked = call("text")

    verdict = tally(asked, ballots(asked, ["I'm sorry, no.", NORTH, "Sorry, I can not tell."], (1.0, 0.2, 1.0)))

    assert verdict.winner.name == "p1"


def test_two_texts_are_decided_by_trust() -> None:
    """Similarity says nothing about two."""
    asked = call("text")

    assert tally(asked, ballots(asked, [NORTH, ODD], (0.5, 1.0))).winner.name == "p1"


@pytest.mark.parametrize(
    "said",
    [
        ("Within 60 days.", "Within 30 days.", "Within 90 days."),
        ("You should wait.", "You should not wait.", "You can wait."),
        ("It is Paris, of course.", "It is Lyon, of course.", "It is Nice, of course."),
    ],
)
def test_contradictions_are_no_agreement(said: tuple[str, ...]) -> None:
    """However alike three texts are, each has one vote behind it."""
    asked = call("text")

    verdict = tally(asked, ballots(asked, said))

    assert verdict.support == 1
    assert len(verdict.ballot_groups) == 3


@pytest.mark.parametrize(
    "said",
    [
        ("17 is prime.", "17 is not prime.", "17 is prime"),
        ("17 is prime.", "17 is not prime.", "17 is a prime number."),
        ("The trip takes about 60 minutes.", "The trip takes about 90 minutes.", "It will take you 60 minutes."),
    ],
)
def test_two_win_against_one_that_contradicts_them(said: tuple[str, ...]) -> None:
    """The minority is the most trusted, and its text is not the answer; who only may say the same is no support."""
    asked = call("text")

    verdict = tally(asked, ballots(asked, said, (0.6, 2.0, 0.8)))

    assert verdict.winner.name in {"p0", "p2"}
    assert verdict.support == (2 if said[0].rstrip(".") == said[2] else 1)


def test_long_texts_are_not_judged_by_a_number_in_them() -> None:
    """Of two essays and a third with another number the most trusted stands, as no rule sees what they are about."""
    asked = call("text")
    essays = [f"{word} " * 80 + f"and {number} more" for word, number in (("sea", 5), ("hill", 5), ("road", 7))]

    assert tally(asked, ballots(asked, essays, (0.5, 0.6, 1.0))).winner.name == "p2"


# Order of arrival

answer = st.sampled_from(["1", "1.0", "2", "two", "[1, 2]", "(1, 2)", "", "yes"])
weight = st.sampled_from([0.1, 0.2, 0.3, 0.6, 1.0])
items = st.permutations("abcd").map(list)
texts = st.sampled_from([NORTH, NORTHWARD, ODD, "I'm sorry.", "blue"])
cards = st.builds(card, st.sampled_from(["Red", "red", "Blue"]), st.sampled_from("abc"), st.sampled_from("abc"))
SHAPES: dict[str, Any] = {
    "value": answer.map(lambda a: {"answer": a}),
    "object": cards,
    "ranking": items.map(lambda ids: {"ranking": ids}),
    "text": texts,
}


@pytest.mark.parametrize("kind", SHAPES)
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_the_verdict_does_not_depend_on_the_order_of_arrival(kind: str, data: st.DataObject) -> None:
    """Any permutation of the attempts and of the panel: the same winner, answer, scores and groups."""
    asked = call(kind, schema=TAGS if kind == "object" else None, ids=tuple("abcd") if kind == "ranking" else ())
    said = data.draw(st.lists(SHAPES[kind], min_size=1, max_size=5))
    members = panel(len(said), data.draw(st.lists(weight, min_size=len(said), max_size=len(said))))
    told = attempts(said)

    plain = tally(asked, valid_ballots(asked, members, told, EqualWeights()))
    mixed_members, mixed_told = data.draw(st.permutations(members)), data.draw(st.permutations(told))
    mixed = tally(asked, valid_ballots(asked, mixed_members, mixed_told, EqualWeights()))

    assert mixed == plain

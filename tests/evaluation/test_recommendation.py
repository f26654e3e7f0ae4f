"""What is recommended of made-up results, and the sentence that goes with it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from llm_pool.core.messages import Reading
from llm_pool.evaluation.figures import Result, best_elsewhere, figures, quantile
from llm_pool.evaluation.recommendation import MIN_LABELLED, Recommendation, recommend
from llm_pool.evaluation.replay import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence


def a_result(name: str, marks: Sequence[bool], *, calls: int = 1, kind: str = "strategy") -> Result:
    outcome = Outcome(Reading("x", None), "m", calls, 1.0, 10, 0.5, is_agreed=False)
    return Result(name, kind, (outcome,) * len(marks), tuple(marks))  # type: ignore[arg-type]


def marks(share: float, count: int, seed: int = 1) -> list[bool]:
    found = [place < round(share * count) for place in range(count)]
    random.Random(seed).shuffle(found)
    return found


def recommended(*results: Result) -> Recommendation | None:
    places = range(len(results[0].right))
    baseline = results[0].labelled(places)
    return recommend(results, [figures(one, baseline, places) for one in results], baseline, places)


def test_a_difference_that_is_certain_is_told_with_its_interval_and_its_price() -> None:
    found = recommended(
        a_result("small", marks(0.5, 400), kind="model"), a_result("WEIGHTED", marks(0.8, 400, 2), calls=3)
    )

    assert found is not None
    assert (found.subject, found.is_certain, found.needed) == ("WEIGHTED", True, None)
    assert found.sentence.startswith("WEIGHTED beats your best model by 30.0 points (2")
    assert found.sentence.endswith("at 3.0 times the calls.")


def test_a_difference_that_is_not_certain_says_how_many_questions_could_tell() -> None:
    base = marks(0.6, 80)
    better = [mark or place in {3, 9, 12, 31} for place, mark in enumerate(base)]

    found = recommended(a_result("small", base, kind="model"), a_result("WEIGHTED", better, calls=2))

    assert found is not None
    assert not found.is_certain
    assert found.needed is not None
    assert found.needed > 80
    assert found.sentence.startswith("80 questions cannot tell WEIGHTED from your best model")
    assert "could" in found.sentence


def test_what_is_as_good_for_fewer_calls_is_recommended() -> None:
    """With so many questions it is certain that nothing is lost by a point."""
    same = marks(0.8, 5000)

    found = recommended(
        a_result("small", same, kind="model"),
        a_result("FASTEST", same, calls=1),
        a_result("WEIGHTED", same, calls=3),
    )

    assert found is not None
    assert found.subject == "small"
    assert found.sentence.startswith("small alone is as good as WEIGHTED to within a point")


def test_a_lucky_few_do_not_take_the_place_of_what_learns() -> None:
    base = marks(0.6, 40)
    lucky = [mark or place == 1 for place, mark in enumerate(base)]

    found = recommended(
        a_result("small", lucky, kind="model"), a_result("VOTING", lucky, calls=3), a_result("WEIGHTED", base, calls=3)
    )

    assert found is not None
    assert found.subject == "WEIGHTED"


def test_what_is_certainly_better_does() -> None:
    found = recommended(
        a_result("large", marks(0.9, 400), kind="model"), a_result("WEIGHTED", marks(0.5, 400, 2), calls=3)
    )

    assert found is not None
    assert (found.subject, found.kind) == ("large", "model")
    assert found.sentence.startswith("large alone beats WEIGHTED by 40.0 points (")


def test_a_handful_of_questions_says_nothing() -> None:
    few = [True] * (MIN_LABELLED - 1)

    assert recommended(a_result("small", few, kind="model"), a_result("VOTING", few)) is None


def test_the_best_model_of_a_fold_is_chosen_in_the_others() -> None:
    one = a_result("one", [True, True, False, False], kind="model")
    other = a_result("other", [False, False, True, True], kind="model")

    assert best_elsewhere([one, other], [[0, 1], [2, 3]]) == ["other", "one"]


def test_the_95th_percentile_is_one_of_the_values() -> None:
    assert quantile([1.0, 2.0, 3.0], 0.95) == 3.0
    assert quantile([float(n) for n in range(1, 101)], 0.95) == 95.0

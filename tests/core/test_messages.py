"""What the values that travel say of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from llm_pool.core.messages import Attempt, Delta, Reading
from llm_pool.testing import an_answer

if TYPE_CHECKING:
    from llm_pool.core.messages import Decision


def attempt(provider: str, **changes: Any) -> Attempt:
    plain = Attempt(
        provider=provider, model="m", outcome="ok", started=0.0, duration=1.0, reading=Reading("a", None), finish="stop"
    )
    return msgspec.structs.replace(plain, **changes)


def decision(*attempts: Attempt) -> Decision:
    return msgspec.structs.replace(an_answer().decision, winner="phi3", attempts=attempts)


def test_the_winners_attempt_is_its_answer_and_not_its_verdict() -> None:
    """A judge may be an author too."""
    verdict, cut = attempt("phi3", why="judge"), attempt("phi3", finish="length")

    assert decision(attempt("gemma2"), verdict, cut).winning_attempt is cut
    assert decision(verdict, cut).finish == "length"


@pytest.mark.parametrize("attempts", [(), (attempt("gemma2", finish="length"),), (attempt("phi3", finish=None),)])
def test_an_end_that_nobody_told_is_a_plain_one(attempts: tuple[Attempt, ...]) -> None:
    assert decision(*attempts).finish == "stop"


@pytest.mark.parametrize(
    ("delta", "alive"), [(Delta("a"), True), (Delta(reasoning="a"), True), (Delta(), False), (Delta(final=True), False)]
)
def test_a_thought_is_a_sign_of_life(delta: Delta, alive: bool) -> None:
    assert delta.has_token is alive

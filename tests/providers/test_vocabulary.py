"""What a bundled model takes for its own world, and what it declines."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.providers.gguf import BUNDLED
from llm_pool.providers.vocabulary import is_foreign, read_words, singular
from tools.pocket import words
from tools.pocket.check import inputs
from tools.pocket.measures import MEASURES

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

KNOWN = read_words(BUNDLED / "pocket-words.json")
FOREIGN = Path(words.__file__).with_name("foreign.txt").read_text(encoding="utf-8").splitlines()


def test_the_shipped_words_are_those_of_the_world() -> None:
    """Made anew when the world is widened."""
    assert json.loads(words.WORDS.read_text(encoding="utf-8")) == words.words()


@pytest.mark.parametrize("task", MEASURES)
def test_foreign_input_is_declined(task: str) -> None:
    """At least 95 of 100, in every task."""
    asked: list[Json] = list(FOREIGN)
    if task in {"judge", "rerank_candidates"}:
        asked = [{"candidates": [{"id": "a", "text": a}, {"id": "b", "text": b}]} for a, b in pairwise(FOREIGN)]
    taken = [one for one in asked if not is_foreign(one, KNOWN[task])]
    assert len(taken) <= 0.05 * len(asked), taken


@pytest.mark.parametrize("task", MEASURES)
def test_its_own_input_is_not(task: str) -> None:
    """At most 2 of 100 that training never saw."""
    texts = [one.case.text for one in inputs(count=100, seed=4242)[task]]
    own = [json.loads(text) if text.startswith("{") else text for text in texts]
    assert sum(is_foreign(one, KNOWN[task]) for one in own) <= 2


def test_what_counts() -> None:
    """Content words do: a quarter may be strange. Nothing at all is foreign."""
    known = frozenset({"jazz", "video", "calm"})
    assert not is_foreign("calm jazz videos from Paris", known)
    assert is_foreign("jazz videos from Paris", known)
    assert is_foreign("42", known)
    assert singular("glass") == "glass"

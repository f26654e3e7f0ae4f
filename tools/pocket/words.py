"""``python -m tools.pocket.words``: the words of the world by task, by which a bundled model knows its own."""

from __future__ import annotations

import json
from itertools import chain
from random import Random
from typing import TYPE_CHECKING, Any

from llm_pool.providers.gguf import BUNDLED
from llm_pool.providers.vocabulary import HOST, content_words
from tools.pocket.grammar import ENDINGS, SHAPES, world
from tools.pocket.oracle import TASKS, example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORDS = BUNDLED / "pocket-words.json"
CANDIDATES = ("candidates:", "id:", "text:", "title:", "score:")


def vocabularies() -> dict[str, dict[str, Any]]:
    """
    What inputs of each task are made of, as ``read_vocabularies`` takes it.

    Beside the tables that an input is drawn from, words that stand near those and that the models answer with.
    """
    w = world()
    topics = (*w["media"], *w["genres"], *w["moods"])
    near = (*w["moods"].values(), *chain.from_iterable(w["genres"].values()))
    praise = tuple(chain.from_iterable(w["qualities"].values()))
    signs = tuple(sign for one in w["incidents"] for sign in one["signs"])
    obstacles = tuple(one["sign"] for one in w["obstacles"])
    services = (*w["services"]["names"], *w["services"]["suffixes"])
    asset = (*topics, *near, *w["subjects"], *w["places"], *w["times"])
    choice = (*topics, *near, *praise, *CANDIDATES)
    taught = {
        "expand_queries": (
            (*topics, *near, *w["places"], *w["purposes"], *w["unwanted"], "without no", "query:"),
            topics,
        ),
        "enrich_metadata": (
            (*asset, *(f"{name}:" for name in ("medium", "genre", "mood", "subject", "place", "time"))),
            topics,
        ),
        "recovery_plan": ((*signs, *services, *w["severities"], "reports", "incident:", "service:"), signs),
        "site_tactics": (
            (*topics, *near, *obstacles, HOST, "find search box", "site:", "goal:", "obstacles:"),
            (*topics, *obstacles, "search box", "goal:"),
        ),
        "judge": ((*choice, "question:"), (*topics, *praise, "score:")),
        "rerank_candidates": ((*choice, "query:"), (*topics, *praise, "score:")),
    }
    questions = chain.from_iterable(words for words, _ in taught.values())
    taught["judging"] = ((*questions, *_answers()), tuple(chain.from_iterable(found for _, found in taught.values())))
    return {
        task: {
            "words": " ".join(_words(words)),
            "signs": sorted({_as_read(one) for one in found}),
            "made_up": made_up(),
        }
        for task, (words, found) in taught.items()
    }


def made_up() -> str:
    """A regular expression of every word that ``grammar.random_word`` can draw."""
    shapes = ("".join(f"[{letters}]" for letters in shape.split()) for shape in SHAPES)
    return f"(?:{'|'.join(shapes)})(?:{'|'.join(dict.fromkeys(ENDINGS))})"


def _answers() -> Iterable[str]:
    """What the answers that a judge compares are made of, beside words of their questions; see ``oracle``."""
    w = world()
    yield from (*chain.from_iterable(w["sites"].values()), *w["severities"].values())
    for one in w["incidents"]:
        yield from (*one["steps"], *one["guards"], one["rollback"])
    for one in w["obstacles"]:
        yield from (one["tactic"], one["fallback"])
    yield "low quality; search for; browse the categories; beats the others; highest score; fits the question best"
    for task in TASKS:
        yield from (f"{key}:" for key in _keys(json.loads(example(Random(0), task).answer)))


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(inner)


def _words(texts: Iterable[str]) -> list[str]:
    return sorted({word for text in texts for word in _as_read(text).split()})


def _as_read(text: str) -> str:
    """*text* as ``Vocabulary`` has it: a key as it is, of anything else the content words."""
    return text if text.endswith(":") else " ".join(content_words(text))


if __name__ == "__main__":
    WORDS.write_text(json.dumps(vocabularies(), indent=1) + "\n", encoding="utf-8")

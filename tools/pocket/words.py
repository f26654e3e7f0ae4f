"""``python -m tools.pocket.words``: the words of the world by task, by which a bundled model knows its own."""

from __future__ import annotations

import json
import re
from itertools import chain, product
from typing import TYPE_CHECKING

from llm_pool.providers.gguf import BUNDLED
from llm_pool.providers.vocabulary import singular
from tools.pocket.grammar import world

if TYPE_CHECKING:
    from collections.abc import Iterable

WORDS = BUNDLED / "pocket-words.json"


def words() -> dict[str, str]:
    """The words that inputs of each task are made of, and under ``made up`` all that ``stranger`` may say."""
    w = world()
    topics = (*w["media"], *w["genres"], *w["moods"], *w["moods"].values(), *chain.from_iterable(w["genres"].values()))
    search = (*topics, *w["places"], *w["purposes"], *w["unwanted"], "music song video film picture search")
    asset = (*topics, *w["places"], *w["subjects"], *w["times"], "documentary")
    signs = (sign for one in w["incidents"] for sign in one["signs"])
    report = (*signs, *w["severities"], *w["services"]["names"], *w["services"]["suffixes"], "report")
    visit = (*topics, *(one["sign"] for one in w["obstacles"]), "search box")
    choice = (*topics, *chain.from_iterable(w["qualities"].values()))
    by_task = {
        "expand_queries": search,
        "enrich_metadata": asset,
        "recovery_plan": report,
        "site_tactics": visit,
        "judge": choice,
        "rerank_candidates": choice,
    }
    return {task: _said(texts) for task, texts in by_task.items()} | {"made up": _said(strangers())}


def strangers() -> Iterable[str]:
    """Every word that ``grammar.stranger`` can draw."""
    for shape in ("bdfgklmnprstvz aeiou nlrstmk", "bcdfgmprst aeiou lmnrv aeo"):
        for letters in product(*shape.split(), ("", "a", "ix", "on", "ello")):
            yield "".join(letters)


def _said(texts: Iterable[str]) -> str:
    found = (word for text in texts for word in re.findall(r"[a-z]{2,}", text.casefold()))
    return " ".join(sorted({singular(word) for word in found}))


if __name__ == "__main__":
    WORDS.write_text(json.dumps(words(), indent=1) + "\n", encoding="utf-8")

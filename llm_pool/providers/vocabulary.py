"""Whether an input lies inside the small world that a bundled model was taught, by the words in it."""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from llm_pool.core.messages import Json

MOST_FOREIGN: Final = 0.25
"""Share of content words that a model may not know: one of four may be a name that it copies."""
LONGEST: Final = 1000
"""Words looked at, so that a long input costs little; the models were trained on about 150 tokens."""

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_CHUNK: Final = re.compile(r"\S{1,200}")
_HOST: Final = re.compile(r"(?:https?://)?[\w-]+(?:\.[\w-]+)+\S*", re.ASCII)
_COMMON: Final = """
a about all an and any are as at be but by can could did do does each every find for from get had has have i
in into is it its just like me my need no not of off on one only or our out please show since some than that
the their them then there these they this those to up us was we were what when where which who why will with
without would you your
"""
_FUNCTION_WORDS: Final = frozenset(_COMMON.split())


@cache
def read_words(path: Path) -> Mapping[str, frozenset[str]]:
    """The words of each task in *path*, JSON made by ``tools.pocket.words``; empty where there is no such file."""
    try:
        told = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    shared = told.pop("made up", "").split()
    return {task: frozenset([*words.split(), *shared]) for task, words in told.items()}


def is_foreign(value: Json, known: frozenset[str]) -> bool:
    """
    Whether more than MOST_FOREIGN of the content words of *value* are not *known*, or it has none at all.

    Function words, numbers, host names, keys and ids do not count. A plural is its singular.
    """
    words = list(islice(_content_words(value), LONGEST))
    return not words or sum(word not in known for word in words) > MOST_FOREIGN * len(words)


def singular(word: str) -> str:
    """*word* without the ``s`` of a plural."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _content_words(value: Json) -> Iterator[str]:
    for text in _texts(value):
        for chunk in _CHUNK.finditer(text):
            if _HOST.fullmatch(chunk[0].strip(".,:;!?")):
                continue
            for found in _WORD.finditer(chunk[0].casefold()):
                if len(found[0]) > 1 and found[0] not in _FUNCTION_WORDS:
                    yield singular(found[0])


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key != "id":
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)

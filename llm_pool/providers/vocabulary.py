"""
Whether an input lies inside the small world that a bundled model was taught, by the words in it.

Every word counts: a model that was taught some hundred words answers ``kafka: disk is full`` with the same certainty as
``checkout: disk is full``, and copies a name it has not met piece by piece. Figures: ``bench/results/pocket.md``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from llm_pool.core.messages import Json

_WORDS_OF_FUNCTION = "a an and are at by for from has have in is of on or the to was were with"
FUNCTION_WORDS: Final = frozenset(_WORDS_OF_FUNCTION.split())
"""Words that say nothing of the subject. Question words and pronouns are none: the world asks no questions."""
NUMBER: Final = "0"
"""What every number counts as."""
HOST: Final = "example.org"
"""What every host name and address counts as. Source of the name: RFC 2606."""
MAX_CHARACTERS: Final = 8000
"""Characters of a longer input are not looked at, and it is foreign: the models were taught some hundred."""

MAX_MISCOPIED: Final = 0.25
"""Share of an answer's words that its judge need not know: the bundled models err in names, and it is to see that."""

_HOST_NAME: Final = re.compile(r"(?<!\S)(?:https?://)?[a-z][a-z0-9-]{0,62}(?:\.[a-z0-9-]{1,63}){1,8}(?:/\S*)?(?!\S)")
_SENTENCE_END: Final = re.compile(r"[.,:;!?](?=\s|$)")
_WORD: Final = re.compile(rf"{re.escape(HOST)}|[^\W_]+")
_IDS: Final = frozenset({"id", "winner_id", "ranking"})
"""Fields that hold ids, which may be anything."""


class Vocabulary(msgspec.Struct, frozen=True):
    """
    What the inputs of one task are made of.

    Attributes:
        words: singular; numbers count as NUMBER, host names as HOST, and a JSON object's key ``k`` as ``k:``.
        signs: phrases, without FUNCTION_WORDS, of which an input needs one: what the model answers from.
        made_up: the made-up words that stand for names, of which the model has learnt to copy any.
    """

    words: frozenset[str]
    signs: tuple[str, ...]
    made_up: re.Pattern[str]

    def covers(self, value: Json) -> bool:
        """Whether *value* holds a sign, and no content word that is neither one of the words nor made up."""
        words = _words(value)
        if words is None or any(map(self._is_strange, words)):
            return False
        said = f" {' '.join(words)} "
        return any(f" {sign} " in said for sign in self.signs)

    def covers_judging(self, value: dict[str, Json]) -> bool:
        """
        The same of JUDGE's question: what was asked in full, the answers to it but for MAX_MISCOPIED of each.

        Args:
            value: as ``ensemble.verdict.judging_input`` makes it.
        """
        return self.covers(value["question"]) and all(self._is_readable(one["text"]) for one in value["candidates"])

    def _is_readable(self, answer: Json) -> bool:
        words = _words(answer)
        return words is not None and sum(map(self._is_strange, words)) <= MAX_MISCOPIED * len(words)

    def _is_strange(self, word: str) -> bool:
        return word not in self.words and not self.made_up.fullmatch(word)


class _Written(msgspec.Struct, frozen=True):
    """A vocabulary as it stands in the file: words apart by spaces, ``made_up`` as a regular expression."""

    words: str
    signs: tuple[str, ...]
    made_up: str


def read_vocabularies(path: Path) -> Mapping[str, Vocabulary]:
    """
    By task, those in *path*, JSON made by ``tools.pocket.words``.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds something else.
    """
    written = msgspec.json.decode(path.read_bytes(), type=dict[str, _Written])
    try:
        return {
            task: Vocabulary(frozenset(one.words.split()), one.signs, re.compile(one.made_up))
            for task, one in written.items()
        }
    except re.error as error:
        raise ValueError(f"made_up: {error}") from None


def content_words(text: str) -> list[str]:
    """The words of *text* but for FUNCTION_WORDS, in lower case, as ``Vocabulary.words`` has them."""
    plain = _HOST_NAME.sub(HOST, _SENTENCE_END.sub("", text.casefold()))
    words = (NUMBER if word.isdecimal() else _singular(word) for word in _WORD.findall(plain))
    return [word for word in words if word not in FUNCTION_WORDS]


def _singular(word: str) -> str:
    """*word* without the ``s`` or ``ies`` of a plural, or what looks like one."""
    if len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    return f"{word[:-3]}y" if word.endswith("ies") else word[:-1]


def _words(value: Json) -> list[str] | None:
    """The keys and content words of *value*; None if it is too long to look at."""
    keys: list[str] = []
    texts: list[str] = []
    room = MAX_CHARACTERS
    for text, is_key in _texts(value):
        room -= len(text) + 1
        if room < 0:
            return None
        (keys if is_key else texts).append(text)
    return [*(f"{key}:" for key in keys), *content_words("\n".join(texts))]


def _texts(value: Json) -> Iterator[tuple[str, bool]]:
    """The texts in *value*, in order, and whether each is a key; nothing of what ids are."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, True
            if key not in _IDS:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield value if isinstance(value, str) else "", False

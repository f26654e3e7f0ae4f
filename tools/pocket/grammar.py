"""Inputs: what somebody might ask, drawn from a wide grammar, with the facts that the oracle answers from."""

from __future__ import annotations

import json
import string
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

World: TypeAlias = "dict[str, Any]"
"""The tables of ``world.toml``."""


@cache
def world() -> World:
    """Everything there is to talk about."""
    return tomllib.loads((Path(__file__).parent / "world.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Search:
    """A search somebody types: ``terms`` are its words in order, ``unwanted`` what it excludes."""

    text: str
    terms: tuple[str, ...]
    mood: str
    genre: str
    medium: str
    unwanted: str


@dataclass(frozen=True)
class Asset:
    """A thing to describe."""

    text: str
    medium: str
    mood: str
    genre: str
    subject: str
    place: str
    time: str


@dataclass(frozen=True)
class Incident:
    """Something that broke; ``playbook`` is an entry of ``incidents``, ``scope`` a word of ``severities``."""

    text: str
    service: str
    playbook: World
    scope: str


@dataclass(frozen=True)
class Visit:
    """A site to find ``goal`` on; ``obstacles`` are entries of ``obstacles`` in the order they are met."""

    text: str
    goal: str
    obstacles: tuple[World, ...]


@dataclass(frozen=True)
class Candidate:
    """
    One of several: the higher its merit, the better.

    ``praise`` is the word that shows it, if one does; ``shown`` is its JSON as it stands in the input.
    """

    id: str
    merit: int
    praise: str
    shown: str


@dataclass(frozen=True)
class Choice:
    """
    Candidates to choose from or to put in order; no two have the same merit.

    ``sign`` says where merit shows: in a ``word`` of ``qualities``, a ``score``, or the ``overlap`` with the words
    that were ``asked``.
    """

    text: str
    sign: str
    asked: tuple[str, ...]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Question:
    """A free question, outside the world."""

    text: str


Case: TypeAlias = "Search | Asset | Incident | Visit | Choice | Question"


SHAPES = ("bdfgklmnprstvz aeiou nlrstmk", "bcdfgmprst aeiou lmnrv aeo")
"""Of made-up words: the letters to draw from, place by place."""
ENDINGS = ("", "", "a", "ix", "on", "ello")


def random_word(rng: Random) -> str:
    """A word nobody knows, so that copying is learnt and not only recognising."""
    shape = rng.choice(SHAPES)
    return "".join(rng.choice(letters) for letters in shape.split()) + rng.choice(ENDINGS)


def with_article(words: str) -> str:
    """``an old library``, ``a tram``."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def search(rng: Random) -> Search:
    """``cinematic lounge videos without ads`` and its like, whole or in part, at times with a strange word."""
    w = world()
    mood, genre, medium = (rng.choice(list(w[table])) for table in ("moods", "genres", "media"))
    mood, genre, medium = (word if rng.random() < 0.85 else "" for word in (mood, genre, medium))
    words = [word for word in (mood, genre, medium) if word]
    if len(words) < 2 or rng.random() < 0.3:
        words.insert(rng.randrange(len(words) + 1), random_word(rng))
    if rng.random() < 0.15:
        rng.shuffle(words)
    text, terms, unwanted = " ".join(words), words, ""
    for link, tail in (("for", rng.choice(w["purposes"])), (rng.choice(("from", "of", "in")), _place(rng))):
        if rng.random() < 0.2:
            text, terms = f"{text} {link} {tail}", [*terms, tail]
    if rng.random() < 0.25:
        unwanted = rng.choice(w["unwanted"])
        text = f"{text} {rng.choice(('without', 'no'))} {unwanted}"
    if rng.random() < 0.15:
        text = json.dumps({"query": text})
    return Search(text, tuple(terms), mood, genre, medium, unwanted)


def asset(rng: Random) -> Asset:
    """A file as its owner describes it: a phrase, a list of words, or JSON."""
    w = world()
    medium = rng.choice(w["media"]).removesuffix("s").replace("documentarie", "documentary")
    mood, genre = rng.choice(list(w["moods"])), rng.choice(list(w["genres"]))
    subject = rng.choice(w["subjects"]) if rng.random() < 0.8 else random_word(rng)
    place, time = _place(rng), rng.choice(w["times"])
    facts = {"medium": medium, "genre": genre, "mood": mood, "subject": subject, "place": place, "time": time}
    text = rng.choice(
        (
            f"{mood} {genre} {medium}, {subject} in {place} {time}",
            f"{medium} of {with_article(subject)} in {place} {time}, {genre}, {mood}",
            f"{subject}, {place}, {time}, {genre} {medium}, {mood}",
            f"{with_article(mood)} {medium} of {with_article(subject)} in {place} {time}, {genre}",
            json.dumps(facts),
        )
    )
    return Asset(text, **facts)


def incident(rng: Random) -> Incident:
    """A line from whoever is on call."""
    w = world()
    service = rng.choice(w["services"]["names"]) if rng.random() < 0.7 else random_word(rng)
    service += rng.choice(w["services"]["suffixes"])
    playbook, scope = rng.choice(w["incidents"]), rng.choice(list(w["severities"]))
    sign = rng.choice(playbook["signs"])
    text = rng.choice(
        (
            f"{service}: {sign} {scope}",
            f"{sign} on {service} {scope}",
            f"{scope}, {service} reports {sign}",
            f"{service} {sign} {scope}",
            json.dumps({"incident": f"{sign} {scope}", "service": service}),
        )
    )
    return Incident(text, service, playbook, scope)


def visit(rng: Random) -> Visit:
    """A site with up to three obstacles, told in any order, and what to find there."""
    w = world()
    met = rng.sample(range(len(w["obstacles"])), rng.randint(0, 3))
    signs = [w["obstacles"][number]["sign"] for number in met]
    told = " and ".join(filter(None, (", ".join(signs[:-1]), *signs[-1:]))) or "a search box"
    goal = " ".join(
        [rng.choice(list(w["genres"])), rng.choice(w["media"])]
        if rng.random() < 0.6
        else [random_word(rng), random_word(rng)]
    )
    host = f"{random_word(rng)}.{rng.choice(('example', 'test', 'org', 'com'))}"
    text = rng.choice(
        (
            f"{host} has {told}; find {goal}",
            f"find {goal} on {host} with {told}",
            f"{goal} at {host}: {told}",
            json.dumps({"site": host, "goal": goal} | ({"obstacles": signs} if signs else {})),
        )
    )
    return Visit(text, goal, tuple(w["obstacles"][number] for number in sorted(met)))


def choice(rng: Random, *, most: int, ask: str) -> Choice:
    """Two to *most* candidates of different merit; the field *ask*, if it is there, says what they are for."""
    w = world()
    sign = rng.choice(("word", "word", "score", "overlap"))
    asked = [rng.choice(list(w[table])) for table in ("moods", "genres", "media")]
    show, levels = SIGNS[sign]
    count = rng.randint(2, most)
    ids, merits = _ids(rng, count), rng.sample(range(levels), count)
    field = rng.choice(("text", "text", "title"))
    shown, candidates = [], []
    for name, merit in zip(ids, merits, strict=True):
        text, rest, praise = show(rng, asked, merit)
        shown.append({"id": name, field: text} | rest)
        candidates.append(Candidate(str(name), merit, praise, json.dumps(shown[-1])))
    told = sign == "overlap" or rng.random() < 0.4
    body = ({ask: " ".join(asked)} if told else {}) | {"candidates": shown}
    return Choice(json.dumps(body), sign, tuple(asked), tuple(candidates))


def _by_word(rng: Random, asked: Sequence[str], merit: int) -> tuple[str, World, str]:
    word = rng.choice(list(world()["qualities"].values())[merit])
    about = rng.choice((f"{asked[1]} {asked[2]}", asked[2], random_word(rng)))
    return rng.choice((f"{word} {about}", f"{about}, {word}", f"{about} is {word}", word)), {}, word


def _by_score(rng: Random, asked: Sequence[str], merit: int) -> tuple[str, World, str]:
    score = merit / 10 if rng.random() < 0.5 else merit / 10 + rng.randint(1, 9) / 100
    return f"{rng.choice((asked[1], random_word(rng)))} {asked[2]}", {"score": round(score, 2)}, ""


def _by_overlap(rng: Random, asked: Sequence[str], merit: int) -> tuple[str, World, str]:
    kept = set(rng.sample(range(len(asked)), merit))
    other = [
        rng.choice([word for word in world()[table] if word not in asked]) for table in ("moods", "genres", "media")
    ]
    return " ".join(word if place in kept else other[place] for place, word in enumerate(asked)), {}, ""


SIGNS: dict[str, tuple[Callable[[Random, Sequence[str], int], tuple[str, World, str]], int]] = {
    "word": (_by_word, 6),
    "score": (_by_score, 10),
    "overlap": (_by_overlap, 4),
}
"""How merit shows: what writes a candidate of that merit, and how many merits there are."""


def question(rng: Random) -> Question:
    """What a person might ask any model."""
    who = random_word(rng)
    return Question(
        rng.choice(
            (
                f"What is the capital of {_place(rng)}?",
                f"Who wrote {who}?",
                f"How do I sort a list in {who}?",
                f"What is {rng.randint(2, 99)} times {rng.randint(2, 99)}?",
                f"Explain {who} in one sentence.",
                f"Write a poem about {with_article(rng.choice(world()['subjects']))}.",
                f"Why is the {who} blue?",
                f"Translate {who} into French.",
                "Hello",
                "Who are you?",
                "What can you do?",
                "Tell me a joke.",
            )
        )
    )


def _place(rng: Random) -> str:
    return rng.choice(world()["places"]) if rng.random() < 0.8 else random_word(rng).capitalize()


def _ids(rng: Random, count: int) -> Sequence[str | int]:
    """In any order, as the pool shows a list to each model in an order of its own."""
    prefix = rng.choice(("c", "doc", "item-", "m"))
    ids: Sequence[str | int] = rng.choice(
        (
            list(string.ascii_lowercase[:count]),
            [number + 1 for number in range(count)],
            [f"{prefix}{number}" for number in rng.sample(range(1, 10), count)],
            rng.sample([*string.ascii_letters], count),
        )
    )
    return rng.sample(ids, count) if rng.random() < 0.7 else ids

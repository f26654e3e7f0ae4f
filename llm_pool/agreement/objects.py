"""
One object out of several, field by field.

==================  ==========================================================================================
field               rule
==================  ==========================================================================================
missing in some     kept if required, or if half of the votes have it
all values equal    that value
number              weighted median
list of strings     tags: items with at least half of the votes, by mean place; filled up to ``minItems``
object              field by field again
anything else       most votes; then weight; then the earlier provider
==================  ==========================================================================================

An object whose schema is nothing but lists of strings is a *harvest* (search phrases, say): there the union is
wanted, near-duplicates counted as one, ordered by votes.

The result is a mix that nobody wrote: whoever calls this validates it, and falls back to ``most_agreeing``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.agreement.keys import Key, Shape, composed, grouped, same
from llm_pool.agreement.texts import SAME_PHRASE, groups, phrase_similarity
from llm_pool.agreement.values import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_pool.core.messages import Json

HALF: Final = 0.5
TAG_LONGEST: Final = 200
"""Characters; strings beyond are sentences, and a list of sentences is not a list of tags."""


class Vote(msgspec.Struct, frozen=True):
    """
    What one provider says; sequences of votes are in the order of the configuration file.

    Attributes:
        value: its whole answer, or its answer to one field.
        count: how much its vote counts.
        weight: decides among equal counts.
    """

    value: Json
    count: float = 1.0
    weight: float = 1.0


def comparable(value: Json) -> Key:
    """The key of an object's field or of a whole object; lists of tags have no order, and each tag counts once."""
    if isinstance(value, dict):
        fields = sorted((str(name), comparable(held)) for name, held in value.items())
        entries: Shape = ("map", *((name, held.shape) for name, held in fields))
        return composed(entries, (((place,), held) for place, (_, held) in enumerate(fields)))
    if isinstance(value, list):
        if _is_tags(value):
            return Key(("tags", *sorted({_tag(item) for item in value}, key=repr)))
        items = [comparable(item) for item in value]
        shape: Shape = ("list", *(item.shape for item in items))
        return composed(shape, (((place,), item) for place, item in enumerate(items)))
    return canonical(value)


def field_agreement(one: Json, other: Json) -> float:
    """The share of fields on which two answers agree, in [0, 1]; tags and nested objects count by overlap."""
    if isinstance(one, dict) and isinstance(other, dict):
        fields = one.keys() | other.keys()
        return sum(field_agreement(one.get(f), other.get(f)) for f in fields) / len(fields) if fields else 1.0
    if _is_tags(one) and _is_tags(other):
        a, b = {_tag(item) for item in one}, {_tag(item) for item in other}
        return len(a & b) / len(a | b) if a | b else 1.0
    return float(same(comparable(one), comparable(other)))


def most_agreeing(votes: Sequence[Vote], value: Json = None) -> int:
    """Index of the vote that agrees most with *value*, or with all the others if None; ties by weight, then order."""
    others = votes if value is None else [Vote(value)]
    scores = [sum(o.count * field_agreement(vote.value, o.value) for o in others if o is not vote) for vote in votes]
    return min(range(len(votes)), key=lambda i: (-round(scores[i], 9), -votes[i].weight, i))


def merge(votes: Sequence[Vote], schema: Mapping[str, Any]) -> Json:
    """
    The objects in *votes* voted field by field.

    Args:
        votes: at least one; their values are objects.
        schema: JSON Schema of the object; read for ``required``, ``minItems`` and ``maxItems``.
    """
    if is_harvest(schema):
        return _each_field(votes, schema, _harvest)
    return _each_field(votes, schema, _field)


def is_harvest(schema: Mapping[str, Any]) -> bool:
    """Whether *schema* describes an object of nothing but lists of strings."""
    fields = [_inner(_inner(schema, "properties"), name) for name in _inner(schema, "properties")]
    return bool(fields) and all(
        field.get("type") == "array" and _inner(field, "items").get("type") == "string" for field in fields
    )


def _each_field(votes: Sequence[Vote], schema: Mapping[str, Any], rule: _Rule) -> dict[str, Json]:
    merged = {}
    for name in dict.fromkeys(name for vote in votes for name in vote.value):
        present = [msgspec.structs.replace(vote, value=vote.value[name]) for vote in votes if name in vote.value]
        if name in schema.get("required", ()) or _total(present) >= HALF * _total(votes):
            merged[name] = rule(present, _inner(_inner(schema, "properties"), name))
    return merged


def _inner(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What *schema* says of *name*; nothing where that is no object: ``true`` is a schema too."""
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _field(votes: Sequence[Vote], schema: Mapping[str, Any]) -> Json:
    values = [vote.value for vote in votes]
    if all(_is_number(value) for value in values):
        return _median(votes)
    if all(_is_tags(value) for value in values):
        return _tags(votes, schema)
    if all(isinstance(value, dict) for value in values):
        return _each_field(votes, schema, _field)
    return plurality(votes)


def plurality(votes: Sequence[Vote]) -> Json:
    """The value with the most votes; ties by summed weight, then the earlier provider."""
    by_answer = [[votes[place] for place in group] for group in grouped([comparable(vote.value) for vote in votes])]
    best = min(
        enumerate(by_answer),
        key=lambda one: (-round(_total(one[1]), 9), -round(sum(v.weight for v in one[1]), 9), one[0]),
    )[1]
    return max(best, key=lambda vote: vote.weight).value


def _median(votes: Sequence[Vote]) -> Json:
    """The first value at which half of the votes are reached."""
    ordered = sorted(votes, key=lambda vote: vote.value)
    reached, half = 0.0, HALF * _total(votes)
    for vote in ordered:
        reached += vote.count
        if reached > half - 1e-9:
            return vote.value
    return ordered[-1].value


def _tags(votes: Sequence[Vote], schema: Mapping[str, Any]) -> list[Json]:
    """Items half of the votes have, most voted and earliest first; more of them where the schema wants more."""
    ranked = _ranked(votes, {_tag(item): item for vote in reversed(votes) for item in vote.value}, _tag)
    half = HALF * _total(votes)
    wanted = max(sum(score >= half - 1e-9 for _, score in ranked), schema.get("minItems", 0))
    return [item for item, _ in ranked][: min(wanted, schema.get("maxItems", wanted))]


def _harvest(votes: Sequence[Vote], schema: Mapping[str, Any]) -> list[Json]:
    """The union, near-duplicates as one; as many as the longest list, where the schema does not say."""
    phrases = list(dict.fromkeys(item for vote in votes for item in vote.value))
    clusters = groups(len(phrases), lambda i, j: phrase_similarity(phrases[i], phrases[j]) >= SAME_PHRASE)
    leader = {phrases[member]: phrases[cluster[0]] for cluster in clusters for member in cluster}
    ranked = _ranked(votes, {p: p for p in leader.values()}, lambda item: leader[item])
    most = schema.get("maxItems", max(len(vote.value) for vote in votes))
    return [item for item, _ in ranked][:most]


def _ranked(votes: Sequence[Vote], items: Mapping[Any, Json], name: _Name) -> list[tuple[Json, float]]:
    """Each item with the votes it has, most voted first, then by mean place, then as first written."""
    score = dict.fromkeys(items, 0.0)
    places: dict[Any, list[int]] = {key: [] for key in items}
    for vote in votes:
        for key, place in {name(item): place for place, item in reversed(list(enumerate(vote.value)))}.items():
            score[key] += vote.count
            places[key].append(place)
    first = {name(item): None for vote in votes for item in vote.value}
    ordered = sorted(first, key=lambda key: (-round(score[key], 9), sum(places[key]) / len(places[key])))
    return [(items[key], score[key]) for key in ordered]


def _total(votes: Sequence[Vote]) -> float:
    return sum(vote.count for vote in votes)


def _tag(item: str) -> Shape:
    """A tag as it is counted: without what it may not state, as its case."""
    key = canonical(item)
    return ("tag", key.shape, *(detail.said for detail in key.details))


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_tags(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and len(item) <= TAG_LONGEST for item in value)


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    _Rule: TypeAlias = Callable[[Sequence[Vote], Mapping[str, Any]], Json]
    _Name: TypeAlias = Callable[[Json], Any]

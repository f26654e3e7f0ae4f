"""Pieces of calls in order: what can be told is told at once, and nothing is lost however a server mixes them."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from llm_pool.core.messages import ToolCall, ToolCallDelta
from llm_pool.server.call_order import CallsInOrder

CALLS = tuple(ToolCall(f"c{at}", f"tool_{at}", f'{{"a":"{at * 3}","b":[{at}]}}') for at in range(3))


def pieces_of(calls: tuple[ToolCall, ...], size: int) -> list[ToolCallDelta]:
    """*calls* in pieces of *size* characters, one call after the other."""
    pieces = []
    for index, call in enumerate(calls):
        texts = [call.arguments[at : at + size] for at in range(0, len(call.arguments), size)]
        pieces += [
            ToolCallDelta(index, *((call.id, call.name) if at == 0 else ("", "")), text)
            for at, text in enumerate(texts)
        ]
    return pieces


def told(pieces: list[ToolCallDelta], calls: tuple[ToolCall, ...] = CALLS) -> tuple[list[ToolCallDelta], int]:
    """All that is told of *pieces*, and how much of it before the end."""
    order = CallsInOrder()
    at_once = [one for piece in pieces for one in order.feed(piece)]
    return [*at_once, *order.rest(calls)], len(at_once)


@given(st.integers(1, 9))
def test_calls_that_come_one_after_the_other_are_told_at_once(size: int) -> None:
    """Piece by piece, all of them."""
    pieces = pieces_of(CALLS, size)

    assert told(pieces) == (pieces, len(pieces))


@given(st.data(), st.integers(1, 9))
def test_mixed_pieces_lose_nothing(data: st.DataObject, size: int) -> None:
    """Whatever the order, each call is told in one run, begun by its name, with all its arguments."""
    by_call = [[*run] for _, run in groupby(pieces_of(CALLS, size), key=lambda piece: piece.index)]
    mixed: list[ToolCallDelta] = []
    while left := [queue for queue in by_call if queue]:
        mixed.append(data.draw(st.sampled_from(left)).pop(0))

    everything, _ = told(mixed)

    runs = [[*run] for _, run in groupby(everything, key=lambda piece: piece.index)]
    assert [run[0].index for run in runs] == [0, 1, 2]
    assert [(run[0].id, run[0].name) for run in runs] == [(call.id, call.name) for call in CALLS]
    assert ["".join(piece.arguments for piece in run) for run in runs] == [call.arguments for call in CALLS]
    assert not any(piece.name for run in runs for piece in run[1:])


def test_calls_of_an_answer_that_was_not_read_along_are_told_at_its_end() -> None:
    """Whole."""
    assert told([])[0] == [ToolCallDelta(at, call.id, call.name, call.arguments) for at, call in enumerate(CALLS)]

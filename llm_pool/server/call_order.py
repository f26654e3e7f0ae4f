"""Pieces of an answer's calls, one call after the other: for APIs whose streams begin one when the last has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.messages import ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_pool.core.messages import ToolCall


class CallsInOrder:
    """
    Puts the pieces of calls in order.

    Servers write one call after the other, so a call has ended where the next begins, if it is whole JSON. Of a server
    that writes several at once, those after the one that is not whole wait for the end of the answer.
    """

    def __init__(self) -> None:
        self._current, self._are_mixed = -1, False
        self._arguments: list[str] = []

    @property
    def began(self) -> bool:
        """Whether a piece was given."""
        return self._current >= 0

    def feed(self, piece: ToolCallDelta) -> Iterator[ToolCallDelta]:
        """What of *piece* can be told now; the index says where a call ends and the next begins."""
        if piece.index == self._current + 1 and self._has_next():
            self._current, self._arguments = piece.index, []
        if piece.index == self._current:
            self._arguments.append(piece.arguments)
            yield piece
        else:
            self._are_mixed = True

    def _has_next(self) -> bool:
        """Whether the next call begins here, as nothing of a later one was left out and the current one is whole."""
        return not self._are_mixed and (not self.began or _is_whole(self._arguments))

    def rest(self, calls: Sequence[ToolCall]) -> Iterator[ToolCallDelta]:
        """What was not told yet of *calls*, all those of the answer."""
        for index in range(max(self._current, 0), len(calls)):
            call = calls[index]
            if index > self._current:
                yield ToolCallDelta(index, call.id, call.name, call.arguments)
            elif untold := call.arguments[sum(map(len, self._arguments)) :]:
                yield ToolCallDelta(index, arguments=untold)


def _is_whole(arguments: Sequence[str]) -> bool:
    try:
        msgspec.json.decode("".join(arguments), type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True

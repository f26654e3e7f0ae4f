"""Pictures that tools give: models are shown pictures by the user alone, so theirs follow in a turn of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.messages import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_pool.core.messages import Image

SHOWN = "The pictures in these results."
"""What the user says with them, where nothing else follows."""


def with_pictures_shown(turns: Iterable[Turn]) -> list[Turn]:
    """
    *turns*, the pictures of results after the last result in a row: results follow calls without a break.

    The user's next turn has them, or one of their own where nobody says anything next.
    """
    shown: list[Turn] = []
    pictures: list[Image] = []
    for turn in turns:
        if turn.role == "tool":
            pictures += turn.images
            shown.append(msgspec.structs.replace(turn, images=()))
        elif pictures and turn.role == "user":
            shown.append(msgspec.structs.replace(turn, images=(*pictures, *turn.images)))
            pictures = []
        else:
            shown += [*_told(pictures), turn]
            pictures = []
    return [*shown, *_told(pictures)]


def _told(pictures: list[Image]) -> list[Turn]:
    return [Turn("user", SHOWN, images=tuple(pictures))] if pictures else []

"""Which of a list of options a model means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from llm_pool.reading.marks import QUOTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json


class Options:
    """
    The values of an ``enum``, or the ids of a ranking, to be looked up in constant time.

    Args:
        options: JSON values.
    """

    def __init__(self, options: Sequence[Json]) -> None:
        self._exact = {json.dumps(option, sort_keys=True) for option in options}
        self._alike: dict[str, list[Json]] = {}
        for option in options:
            self._alike.setdefault(_plain(option), []).append(option)

    def meant(self, value: Json) -> Json:
        """
        The option that *value* means; *value* itself if none.

        It is the one that is equal, or the only one that differs in nothing but letter case, type, and the marks
        around it: ``**B**``, ``(B)``, ``B.``.
        """
        if json.dumps(value, sort_keys=True) in self._exact:
            return value
        alike = self._alike.get(_plain(value), ())
        return alike[0] if len(alike) == 1 else value


def _plain(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text.strip(f" \t\r\n`*_.,:;!()[]{QUOTES}").casefold()

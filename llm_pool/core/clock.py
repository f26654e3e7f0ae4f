"""The system's clock. Sleeping and timeouts stay with asyncio: tests run asyncio itself on virtual time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def loop_time() -> Callable[[], float]:
    """
    What reads the time that the running event loop goes by.

    That is the system's monotonic clock for asyncio's own loops and uvloop's, read at a tenth of what it costs to ask
    the loop for it; a loop with a time of its own, as tests have, is asked. Outside a loop it is the system's.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return time.monotonic
    has_own = isinstance(loop, asyncio.BaseEventLoop) and type(loop).time is not asyncio.BaseEventLoop.time
    return loop.time if has_own else time.monotonic


class SystemClock:
    """
    The time of the event loop that runs when it is made, so that timeouts on virtual time see the same instants.

    Attributes:
        now: monotonic seconds; deadlines are instants on this scale.
    """

    def __init__(self) -> None:
        self.now = loop_time()

    def wall(self) -> float:
        """Unix seconds, for signatures, log lines and stored records only."""
        return time.time()

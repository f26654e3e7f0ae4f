"""The system's clock. Sleeping and timeouts stay with asyncio: tests run asyncio itself on virtual time."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Reads the running loop's time, so that virtual-time tests see the same instant as their timeouts."""

    def now(self) -> float:
        """Monotonic seconds of the running event loop; deadlines are instants on this scale."""
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:  # in a thread; asyncio's and uvloop's clocks are the system's monotonic one
            return time.monotonic()

    def wall(self) -> float:
        """Unix seconds, for signatures, log lines and stored records only."""
        return time.time()

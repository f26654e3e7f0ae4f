"""
How many models a machine holds, learned from what it was seen to hold.

::

    seen 1, 2, 3 together                 at least 3
    a load put another out, 2 are left    2, neither more nor less
    later 3 seen together                 at least 3 again: others' memory was freed, or the server's setting changed

A machine that has shown nothing yet counts as holding one: a load that puts out a model which answers is dear, and one
that waits a little for an idle machine is not. Ollama's own number is ``OLLAMA_MAX_LOADED_MODELS``, or what fits.
"""

from __future__ import annotations

import msgspec


class Capacity(msgspec.Struct, frozen=True):
    """
    Models in memory at once.

    Attributes:
        at_least: that many fit, >= 1.
        at_most: more do not fit, as far as was seen; >= *at_least*. None: nobody knows yet.
    """

    at_least: int = 1
    at_most: int | None = None

    def seen(self, count: int) -> Capacity:
        """What is known once *count* models were in memory together."""
        at_most = None if self.at_most is not None and count > self.at_most else self.at_most
        return Capacity(max(self.at_least, count), at_most)

    def evicted(self, left: int) -> Capacity:
        """What is known once a load has put another model out, and *left* models are in memory, >= 1."""
        return Capacity(min(self.at_least, left), left)

    def may_hold(self, count: int) -> bool:
        """Whether *count* models may fit: nothing that was seen speaks against it."""
        return self.at_most is None or count <= self.at_most

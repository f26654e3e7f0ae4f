"""
Garbage collection of a process that serves.

CPython's collector stops the process while it looks for cycles: in the whole heap of a daemon for 80 to 100 ms. What is
there once a daemon serves (modules, classes, configuration) stays; so it is looked at once, and then left out of every
later look. What comes and goes with requests is looked at early and in small portions.

Source: https://docs.python.org/3/library/gc.html#gc.freeze
"""

from __future__ import annotations

import gc

THRESHOLDS = (2_000, 20, 50)
"""Objects, and collections of the younger generation, after which each generation is looked at."""


def settle() -> None:
    """
    Look at everything there is once more, and from now on at what comes after it only.

    For a process that has just begun to serve, and after large imports. Not after a reload, whose few hundred objects
    are looked at like those of requests: cycles of a generation that is gone would otherwise stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

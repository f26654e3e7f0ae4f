"""``python -m llm_pool``: the command line, with the shortest way for the shortest question."""

from __future__ import annotations

import gc
import os
import signal
import sys

from llm_pool import __version__


def main() -> None:
    """Run the command line and exit with its code."""
    words = sys.argv[1:]
    if words == ["--version"]:
        print(f"llm-pool {__version__}")  # noqa: T201  # before anything is imported
        return
    if words[:1] == ["serve"]:  # as process 1 of a container, SIGTERM is lost on a process that has no handler yet
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing is open; the daemon puts its own in this place
    gc.set_threshold(50_000)  # imports make no garbage: looking for it is a tenth of a start
    from llm_pool.cli.main import run

    code = run(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is closed; tearing down the interpreter is another tenth


if __name__ == "__main__":
    main()

"""``python -m llm_pool``: the command line, with the shortest way for the shortest question."""

from __future__ import annotations

import sys

from llm_pool import __version__


def main() -> None:
    """Run the command line and exit with its code."""
    if sys.argv[1:] == ["--version"]:
        print(f"llm-pool {__version__}")  # noqa: T201  # before anything is imported
        return
    from llm_pool.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

"""
What every SDK must do, as data: ``python -m tools.vectors`` writes ``sdk/vectors`` anew.

What is asked stands in these modules; what is right is what the Python client and the server's own encoders make of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tools.vectors import deadlines, errors, feedback, requests, retries, signatures, streams

if TYPE_CHECKING:
    from llm_pool.core.messages import Json

FOLDER = Path(__file__).parents[2] / "sdk" / "vectors"


def vectors() -> dict[str, Json]:
    """The vectors, by file."""
    return {
        "deadlines.json": deadlines.vectors(),
        "errors.json": errors.vectors(),
        "feedback.json": feedback.vectors(),
        "requests.json": requests.vectors(),
        "retries.json": retries.vectors(),
        "signatures.json": signatures.vectors(),
        "streams.json": streams.vectors(),
    }


def text(value: Json) -> str:
    """*value* as a file has it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

"""``llm-pool feedback``: say how good an answer was, and the pool trusts its authors accordingly."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from llm_pool.cli.console import Console
from llm_pool.cli.exits import Exit
from llm_pool.cli.settings import QUIET

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def feedback(
    request_id: Annotated[str, typer.Argument(help="Of an answer that several models were asked for.")],
    verdict: Annotated[Literal["good", "bad"], typer.Argument(help="Whether the answer was right.")],
    *,
    quiet: QUIET = False,
) -> int:
    """Tell the pool whether the answer to REQUEST_ID was good."""
    from llm_pool.learning import decision_book, take_feedback, trust_store

    learned = take_feedback(request_id, trust_store(), decision_book(), good=verdict == "good")
    said = "noted" if learned else "noted; the panel agreed on it, so nobody gains or loses trust over the others"
    Console(quiet=quiet).say(said)
    return Exit.OK

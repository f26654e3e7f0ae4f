"""``llm-pool feedback``: say how good an answer was, and the pool trusts its authors accordingly."""

from __future__ import annotations

from typing import Annotated

from typer import Argument

from llm_pool.cli.command import App, Context
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import Url
from llm_pool.cli.values import one_of

_EXAMPLES = """\
llm-pool infer --task judge --request-id q7 < question.json
llm-pool feedback q7 good"""

app = App()


@app.command(epilog=_EXAMPLES)
def feedback(
    ctx: Context,
    request_id: Annotated[str, Argument(help="of an answer several models were asked for; infer --json prints it")],
    verdict: Annotated[
        str, Argument(help="good or bad", parser=one_of("good", "bad"), autocompletion=lambda: ["good", "bad"])
    ],
    url: Url = None,
) -> int:
    """Tell the pool whether the answer to REQUEST_ID was right: who gave it gains or loses trust."""
    console, good = ctx.obj.console, verdict == "good"
    if url:
        import asyncio

        from llm_pool.cli.remote import reject_local_only, with_daemon

        reject_local_only(config=ctx.obj.config)
        learned = asyncio.run(with_daemon(url, lambda daemon: daemon.feedback(request_id, good=good)))
    else:
        from llm_pool.trust.learning import state_folder, take_feedback
        from llm_pool.trust.store import TrustStore

        folder = state_folder()
        store = TrustStore(folder / "trust.json")
        learned = take_feedback(request_id, store, folder / "decisions.jsonl", good=good)
    if ctx.obj.json:
        console.json({"request_id": request_id, "good": good, "learned": learned})
    elif learned:
        console.say("noted")
    else:
        console.say("noted; the panel agreed on it, so nobody gains or loses trust over the others")
    return ExitCode.OK

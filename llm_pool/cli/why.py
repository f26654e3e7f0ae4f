"""``llm-pool why``: how the last answers of this machine came about."""

from __future__ import annotations

import time
from itertools import islice
from typing import Annotated

from typer import Argument, Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.values import integer
from llm_pool.core.errors import InvalidRequest

_EXAMPLES = """\
llm-pool why                # the last one
llm-pool why -n 5           # the last five
llm-pool why q7 --json"""


def _request_ids(incomplete: str) -> list[str]:
    from llm_pool.cli.recent import kept

    return [answer.request_id for _, answer in islice(kept(), 20) if answer.request_id.startswith(incomplete)]


app = App()


@app.command(epilog=_EXAMPLES)
def why(
    ctx: Context,
    request_id: Annotated[
        str | None, Argument(help="of an answer; else the last one", autocompletion=_request_ids)
    ] = None,
    count: Annotated[int, Option("-n", metavar="N", help="so many, the newest last", parser=integer(1, 1000))] = 1,
) -> int:
    """Draw how an answer came about, as infer --explain does. Neither question nor answer is kept for it."""
    from llm_pool.cli.explain import explain
    from llm_pool.cli.recent import kept
    from llm_pool.wire.json import answer_json

    console = ctx.obj.console
    found = list(islice(kept(request_id), count))[::-1]
    if request_id is not None and not found:
        raise InvalidRequest(
            "REQUEST_ID", f"no decision of '{request_id}' is kept here", hint="llm-pool why -n 20   shows the last"
        )
    if ctx.obj.json:
        console.json([{"at": at, **answer_json(answer)} for at, answer in found])
    elif not found:
        console.say('nothing was asked yet; llm-pool infer "Is 17 prime?"')
    else:
        for at, answer in found:
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
            explain(answer, console, err=False, before=f"{when}  {answer.request_id}")
    return ExitCode.OK

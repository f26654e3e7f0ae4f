"""``llm-pool feedback``: say how good an answer was, and the pool trusts its authors accordingly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import add_output_options
from llm_pool.cli.parsing import Command, one_of

if TYPE_CHECKING:
    from argparse import Namespace

    from llm_pool.cli.console import Console
    from llm_pool.cli.parsing import Parser


def _arguments(parser: Parser) -> None:
    parser.argument("request_id", "of an answer that several models were asked for; infer --json prints it")
    parser.argument("verdict", "good or bad", read=one_of("good", "bad"), complete=lambda: ("good", "bad"))
    add_output_options(parser)


def _run(args: Namespace, console: Console) -> int:
    from llm_pool.trust.learning import state_folder, take_feedback
    from llm_pool.trust.store import TrustStore

    folder = state_folder()
    store, good = TrustStore(folder / "trust.json"), args.verdict == "good"
    learned = take_feedback(args.request_id, store, folder / "decisions.jsonl", good=good)
    if args.json:
        console.json({"request_id": args.request_id, "good": good, "learned": learned})
    elif learned:
        console.say("noted")
    else:
        console.say("noted; the panel agreed on it, so nobody gains or loses trust over the others")
    return ExitCode.OK


COMMAND = Command(
    "feedback",
    "Tell the pool whether the answer to REQUEST_ID was right: who gave it gains or loses trust.",
    (
        "llm-pool infer --task judge --request-id q7 < question.json",
        "llm-pool feedback q7 good",
    ),
    _arguments,
    _run,
)

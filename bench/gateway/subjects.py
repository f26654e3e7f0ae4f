"""What is measured: the same question to our daemon, in every way it may be asked, and to the gateways of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bench.gateway.peers import STARTS, PeerError, peer
from bench.load.daemon import providers, serving
from bench.load.nginx import MODEL
from bench.load.questions import CROWDED, PROMPT, chat_body, crowd, infer_body
from bench.load.wrk import Posts

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from bench.gateway.peers import Peer
    from bench.load.nginx import Upstreams


class Subject(NamedTuple):
    """
    Something to ask.

    Attributes:
        posts: the question.
        pid: whose CPU and memory is counted, with all below it.
        is_ours: not a peer's.
        refuses: it must answer nobody; any other must answer everybody.
    """

    name: str
    posts: Posts
    pid: int
    is_ours: bool = True
    refuses: bool = False


def ours(stack: ExitStack, folder: Path, upstreams: Upstreams) -> list[Subject]:
    """Our daemon with one provider, with three, and with one that is busy for ever; all else as it is by default."""
    one = stack.enter_context(serving(folder / "one", providers(upstreams.urls[:1], MODEL)))
    three = stack.enter_context(serving(folder / "three", providers(upstreams.urls[:3], MODEL)))
    busy = stack.enter_context(serving(folder / "busy", CROWDED + providers([upstreams.silent], MODEL)))
    crowd(stack, busy.url)
    infer, chat = f"{one.url}/v1/infer", f"{one.url}/v1/chat/completions"
    kept = PROMPT.replace("@", "of today")
    return [
        Subject("/v1/infer, FASTEST, one provider", Posts(infer, infer_body()), one.pid),
        Subject("/v1/chat/completions", Posts(chat, chat_body("pool")), one.pid),
        Subject("cache hit", Posts(infer, infer_body(prompt=kept)), one.pid),
        Subject("FASTEST, three providers", Posts(f"{three.url}/v1/infer", infer_body()), three.pid),
        Subject("VOTING of three", Posts(f"{three.url}/v1/infer", infer_body(strategy="VOTING")), three.pid),
        Subject("/v1/infer, streamed", Posts(infer, infer_body(stream=True)), one.pid),
        Subject("/v1/chat/completions, streamed", Posts(chat, chat_body("pool", stream=True)), one.pid),
        Subject("a refusal: the queue is full", Posts(f"{busy.url}/v1/infer", infer_body()), busy.pid, refuses=True),
    ]


def peers(stack: ExitStack, folder: Path, upstreams: Upstreams) -> tuple[list[Subject], list[str]]:
    """The gateways of others, and what is to be said of those that cannot be had."""
    found, missing = [], []
    for name in STARTS:
        try:
            one = stack.enter_context(peer(name, upstreams.urls[0], folder / name))
        except PeerError as error:
            missing.append(str(error))
            continue
        found += [_asked(name, one), _asked(f"{name}, streamed", one, stream=True)]
    return found, missing


def _asked(name: str, one: Peer, *, stream: bool = False) -> Subject:
    return Subject(name, Posts(one.url, chat_body(one.model, stream=stream)), one.pid, is_ours=False)

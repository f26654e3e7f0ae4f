"""Our daemon as a process, with a configuration of the bench's choice."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.load.processes import answers, free_port, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROVIDER = """
[[providers]]
name = "{name}"
driver = "openai"
model = "{model}"
base_url = "{url}"
"""


class Daemon(NamedTuple):
    """
    A daemon that is ready.

    Attributes:
        took: seconds from its start to ``/readyz``.
    """

    url: str
    grpc: str
    pid: int
    took: float


def providers(urls: Sequence[str], model: str) -> str:
    """TOML of a provider at each of *urls*; everything else as it is by default."""
    return "".join(PROVIDER.format(name=f"p{at}", model=model, url=url) for at, url in enumerate(urls))


@contextmanager
def serving(folder: Path, toml: str, *options: str) -> Iterator[Daemon]:
    """``llm-pool serve`` with *toml* and *options*, with a state of its own in *folder*."""
    folder.mkdir(parents=True)
    config, log, http, grpc = folder / "llm-pool.toml", folder / "serve.log", free_port(), free_port()
    config.write_text(toml, encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LLM_POOL_STATE": str(folder / "state")}
    addresses = ["--http-addr", f"127.0.0.1:{http}", "--grpc-addr", f"127.0.0.1:{grpc}"]
    program = str(Path(sys.executable).with_name("llm-pool"))
    with running([program, "serve", "--config", str(config), *addresses, *options], log=log, env=env) as process:
        url = f"http://127.0.0.1:{http}"
        took = until(lambda: answers(f"{url}/readyz"), process, log, within=30, every=0.002)
        yield Daemon(url, f"127.0.0.1:{grpc}", process.pid, took)

"""
The gateways of others: each from the package index in an environment of its own, started on a port of its own.

The environments are made once and kept in the user's cache folder. What cannot be had is told, and left out.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from platformdirs import user_cache_path

from bench.load.nginx import MODEL
from bench.load.processes import answers, free_port, running, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PINS = Path(__file__).with_name("peers.txt")
INSTALL_TIMEOUT = 600.0
START_TIMEOUT = 90.0
LITELLM = """
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{upstream}/v1", api_key: none}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
"""
TENSORZERO = """
[models.{model}]
routing = ["nginx"]
[models.{model}.providers.nginx]
type = "openai"
api_base = "{upstream}/v1/"
model_name = "{model}"
api_key_location = "none"
"""
EMBEDDED = """
import sys, threading, tensorzero
gateway = tensorzero._start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
print("URL", gateway.base_url, flush=True)
threading.Event().wait()
"""
"""TensorZero's gateway, in a process that does nothing else: its wheel has the server, and no program for it."""


class PeerError(Exception):
    """A peer that cannot be had, and why."""


class Peer(NamedTuple):
    """A gateway that runs: where chat completions are asked for, and the model's name there."""

    url: str
    model: str
    pid: int


class Place(NamedTuple):
    """What a peer is started with: programs of its environment, a folder of its own, and who is to be asked."""

    bin: Path
    folder: Path
    upstream: str

    def router(self, program: str, *words: str) -> tuple[list[str], str]:
        """The command line of a router that takes workers by their URL, and its own URL."""
        port = free_port()
        addresses = ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", self.upstream]
        quiet = ["--prometheus-port", str(free_port()), "--log-level", "error", "--policy", "round_robin"]
        return [str(self.bin / program), *words, *addresses, *quiet], f"http://127.0.0.1:{port}/v1/chat/completions"


@contextmanager
def peer(name: str, upstream: str, folder: Path) -> Iterator[Peer]:
    """
    The gateway *name* in front of *upstream*, ready to answer.

    Raises:
        PeerError: it cannot be installed, or does not start.
    """
    folder.mkdir(parents=True)
    place = Place(environment(name) / "bin", folder, upstream)
    with ExitStack() as stack:
        try:
            one = stack.enter_context(STARTS[name](place))
        except (OSError, RuntimeError) as error:
            raise PeerError(f"{name} does not start: {error}") from None
        yield one


def pins(text: str) -> dict[str, str]:
    """From a requirements file, each name and the requirement it stands in."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {re.split(r"[\[=<>~! ]", line)[0]: line for line in lines if line}


def environment(name: str) -> Path:
    """The environment of the peer *name*, made where it is not there yet; raises PeerError."""
    requirement = pins(PINS.read_text("utf-8"))[name]
    folder = user_cache_path("llm-pool-bench") / re.sub(r"[^A-Za-z0-9.]+", "-", requirement)
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}") or shutil.which("uv")
        python = str(folder / "bin" / "python")
        if uv:
            steps = [[uv, "venv", "-q", str(folder)], [uv, "pip", "install", "-q", "--python", python, requirement]]
        else:
            steps = [[sys.executable, "-m", "venv", str(folder)], [python, "-m", "pip", "install", "-q", requirement]]
        for words in steps:
            _install(name, words)
        (folder / "complete").touch()
    return folder


def _install(name: str, words: list[str]) -> None:
    try:
        subprocess.run(words, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise PeerError(f"{name} cannot be installed: {error.stderr.strip()[-300:]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{name} cannot be installed: {error}") from None


@contextmanager
def _sglang(place: Place) -> Iterator[Peer]:
    words, url = place.router("sglang-router", "launch", "--backend", "openai")
    with _started(words, place, url, MODEL) as one:
        yield one


@contextmanager
def _vllm(place: Place) -> Iterator[Peer]:
    words, url = place.router("vllm-router")
    with _started(words, place, url, MODEL) as one:
        yield one


@contextmanager
def _litellm(place: Place) -> Iterator[Peer]:
    config, port = place.folder / "config.yaml", free_port()
    config.write_text(LITELLM.format(model=MODEL, upstream=place.upstream), encoding="utf-8")
    words = [str(place.bin / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with _started(words, place, f"http://127.0.0.1:{port}/v1/chat/completions", MODEL) as one:
        yield one


@contextmanager
def _tensorzero(place: Place) -> Iterator[Peer]:
    config, log = place.folder / "tensorzero.toml", place.folder / "log"
    config.write_text(TENSORZERO.format(model=MODEL, upstream=place.upstream), encoding="utf-8")
    with running([str(place.bin / "python"), "-c", EMBEDDED, str(config)], log=log) as process:
        until(lambda: "URL " in log.read_text("utf-8"), process, log, within=START_TIMEOUT)
        url = log.read_text("utf-8").partition("URL ")[2].split()[0]
        yield Peer(f"{url}/chat/completions", f"tensorzero::model_name::{MODEL}", process.pid)


@contextmanager
def _started(words: list[str], place: Place, url: str, model: str) -> Iterator[Peer]:
    """The program *words*, once a question to *url* is answered."""
    log = place.folder / "log"
    question = b'{"model":"%b","messages":[{"role":"user","content":"Is 17 prime?"}]}' % model.encode()
    with running(words, log=log) as process:
        until(lambda: answers(url, question), process, log, within=START_TIMEOUT, every=0.2)
        yield Peer(url, model, process.pid)


STARTS: dict[str, Callable[[Place], AbstractContextManager[Peer]]] = {
    "sglang-router": _sglang,
    "vllm-router": _vllm,
    "tensorzero": _tensorzero,
    "litellm": _litellm,
}

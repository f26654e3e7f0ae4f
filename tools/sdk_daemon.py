"""
Daemons for the tests of an SDK: ``python tools/sdk_daemon.py``, until its standard input ends.

One line of JSON on standard output says where they are: ``open`` asks nobody who they are, ``closed`` does. Both are
real ``llm-pool serve`` processes before the scripted upstream. The provider ``silent`` of task ``expand_queries`` never
answers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from llm_pool.testing.processes import running_upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET, LIMITED = "lpsk_of-the-sdk-tests", "lpsk_of-the-limited"
ORIGIN = "http://app.test"
"""A web page of another site that may ask."""
MODELS = {"phi3": "phi3:mini", "llama31": "llama3.1:8b", "gemma2": "gemma2:9b"}
CLOSED = f"""
[tenancy.acme]
api_key = "{SECRET}"
[tenancy.limited]
api_key = "{LIMITED}"
rate_limit_rps = 2
rate_limit_burst = 1
[[security.jwt]]
issuer = "https://id.example"
audience = "llm-pool"
algorithms = ["es256"]
jwks_file = "jwks.json"
"""


def token(folder: Path) -> str:
    """A JSON Web Token of tenant acme, good for an hour; its issuer's keys are in *folder*."""
    key, now = ec.generate_private_key(ec.SECP256R1()), int(time.time())
    keys = {"keys": [{**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": "k1"}]}
    (folder / "jwks.json").write_text(json.dumps(keys))
    said = {"iss": "https://id.example", "aud": "llm-pool", "nbf": now, "exp": now + 3600}
    return jwt.encode({**said, "tenant_id": "acme", "scope": "infer observe"}, key, "ES256", headers={"kid": "k1"})


def config(upstream: str, more: str = "") -> str:
    """A configuration with the models at *upstream*."""
    line = f'driver = "ollama"\nbase_url = "{upstream}"\n'
    providers = [f'[[providers]]\nname = "{name}"\nmodel = "{model}"\n{line}' for name, model in MODELS.items()]
    silent = f'[[providers]]\nname = "silent"\nmodel = "silent:1b"\ntasks = ["expand_queries"]\n{line}'
    server = f'[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\norigins = ["{ORIGIN}"]\n'
    ask = f"[tasks.ask]\ndeadline_ms = 20000\nproviders = {json.dumps(list(MODELS))}\n"
    group = f'[groups."{upstream}"]\nslots = 64\n'
    return "".join((server, ask, group, *providers, silent, more))


@contextmanager
def serving(folder: Path, text: str) -> Iterator[dict[str, str]]:
    """The addresses of a daemon with configuration *text*, by scheme."""
    folder.mkdir(exist_ok=True)
    (folder / "llm-pool.toml").write_text(text)
    command = [sys.executable, "-m", "llm_pool", "serve", "--config", str(folder / "llm-pool.toml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"LLM_POOL_STATE": str(folder)}) as process:  # noqa: S603  # our own module
        urls: dict[str, str] = {}
        for line in process.stderr or ():
            urls |= {found[1]: found[0] for found in re.finditer(r"(http|grpc)://127\.0\.0\.1:\d+", line)}
            if len(urls) == 2:
                break
        try:
            yield urls
        finally:
            process.terminate()
            process.communicate(timeout=20)


def main() -> None:
    """Serve until standard input ends."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        models = [word for model in (*MODELS.values(), "silent:1b") for word in ("--model", model)]
        upstream = stack.enter_context(
            running_upstream(*models, "--mode", "silent:1b=hang", "--per-token", "const:0.005")
        )
        (folder / "closed").mkdir()
        told = {"secret": SECRET, "limited": LIMITED, "jwt": token(folder / "closed"), "origin": ORIGIN}
        told["open"] = stack.enter_context(serving(folder / "open", config(upstream)))
        told["closed"] = stack.enter_context(serving(folder / "closed", config(upstream, CLOSED)))
        print(json.dumps(told), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

"""
The image of deploy/Containerfile, built and run as Kubernetes would. By hand: `poe container`.

It takes minutes and wants root, buildah, podman, runc, mmdebstrap and catatonit, so the gate leaves it out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.client import Client, Token

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TOOLS = ("buildah", "podman", "runc", "mmdebstrap", "catatonit")
KEY = "0123456789abcdef0123456789abcdef"
CONFIG = """
[[providers]]
name = "up"
driver = "ollama"
base_url = "http://127.0.0.1:11434"
model = "phi3:mini"

[tenancy.app]
api_key = "${env:APP_KEY}"
"""
ENGINE = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
[engine]
runtime = "runc"
"""

pytestmark = pytest.mark.skipif(
    not os.environ.get("LLM_POOL_CONTAINER") or any(shutil.which(tool) is None for tool in TOOLS),
    reason="`poe container` builds the image, where the tools are",
)


def podman(*words: str) -> str:
    return subprocess.run(["podman", *words], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Base and image, from Debian's and Python's packages alone."""
    settings = tmp_path_factory.mktemp("engine") / "containers.conf"
    settings.write_text(ENGINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(settings))
        subprocess.run([ROOT / "deploy" / "base.sh"], check=True, capture_output=True)
        build = [
            "buildah",
            "bud",
            "--isolation",
            "chroot",
            "--format",
            "docker",
            "-q",
            "-t",
            "localhost/llm-pool:0.1.0",
        ]
        given = ["-v", "/etc/ssl/certs:/etc/ssl/certs:ro", "--build-arg", "BASE=localhost/llm-pool-base"]
        subprocess.run([*build, *given, "-f", "deploy/Containerfile", "."], cwd=ROOT, check=True, capture_output=True)
        yield


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[str]:
    """The pool, without rights and on a root it cannot write, beside a scripted Ollama."""
    config = tmp_path / "llm-pool.toml"
    config.write_text(CONFIG)
    config.chmod(0o644)
    tmp_path.chmod(0o755)
    podman("pod", "create", "--name", "lp-test", "-p", "127.0.0.1:17071:7071", "-p", "127.0.0.1:17070:7070")
    try:
        upstream = ["--entrypoint", "python3", "localhost/llm-pool:0.1.0", "-m", "llm_pool.testing.upstream"]
        podman(
            "run", "-d", "--pod", "lp-test", "--no-healthcheck", *upstream, "--port", "11434", "--model", "phi3:mini"
        )
        hard = ["--read-only", "--cap-drop=ALL", "--security-opt", "no-new-privileges", "--no-healthcheck"]
        given = ["-e", f"APP_KEY={KEY}", "-v", f"{config}:/etc/llm-pool/llm-pool.toml:ro"]
        yield podman("run", "-d", "--pod", "lp-test", *hard, *given, "localhost/llm-pool:0.1.0")
    finally:
        podman("pod", "rm", "-f", "-t", "1", "lp-test")


def ready(url: str) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the pod does not become ready")


def test_it_answers_and_ends_in_order(pod: str) -> None:
    """Over HTTP and gRPC; as process 1 it hears SIGTERM, and exits with 0 within its grace."""
    ready("http://127.0.0.1:17071")

    for url in ("http://127.0.0.1:17071", "grpc://127.0.0.1:17070"):
        with Client(url, credentials=Token(KEY)) as client:
            assert client.infer("hello").content
    began = time.monotonic()
    podman("stop", "-t", "10", pod)

    assert time.monotonic() - began < 5
    state = json.loads(podman("inspect", pod))[0]
    assert state["State"]["ExitCode"] == 0
    assert state["Config"]["User"] == "65532:65532"

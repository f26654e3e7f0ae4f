"""What the replicas read, and the machines they ask."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from bench.cluster.load import DEADLINE
from bench.cluster.network import GATEWAY
from bench.cluster.processes import PORT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.cluster.network import Host

KEY = "lpsk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
SLOTS = 4
"""Calls that each machine takes at once."""
MODELS = ("phi3:mini", "llama3.1:8b", "gemma2:9b")
ARBITER = "arbiter"
"""The judge: on the first machine, beside its model."""
COLOURS = ("blue", "blue", "green")
"""What the models say: two agree, so that there is something to decide."""
SERVING = """
[server]
http_addr = "0.0.0.0:{port}"
enable_grpc = false
[qos]
hedge_after_ms = {hedge_after_ms}
max_deadline_ms = {deadline_ms}
[cache]
driver = "redis"
url = "redis://{redis}:6379/0"
[discovery]
enabled = false
[judge]
model_provider = "arbiter"
[tenancy.bench]
api_key = "{key}"
scopes = ["infer", "observe"]
"""
PROVIDER = """
[groups."{url}"]
slots = {slots}
[[providers]]
name = "{name}"
driver = "ollama"
model = "{model}"
base_url = "{url}"
tasks = ["ask"]
headers = {{ "X-Replica" = "${{env:REPLICA}}" }}
"""
JUDGING = """
[[providers]]
name = "arbiter"
driver = "ollama"
model = "arbiter"
base_url = "{url}"
tasks = ["judge"]
headers = {{ "X-Replica" = "${{env:REPLICA}}" }}
"""


class MountedConfig:
    """
    A configuration as a ConfigMap is mounted: a link to a link to the file, and the link between is swapped.

    Args:
        folder: where it is mounted.
        redis: where the replicas share what they share.
        machines: addresses of the upstreams, one for each of ``MODELS``.
    """

    def __init__(self, folder: Path, redis: Host, machines: Sequence[str]) -> None:
        self._folder, self._redis, self._machines = folder, redis, machines
        self._version = 0
        folder.mkdir()
        self.path = folder / "llm-pool.toml"
        self.path.symlink_to("..data/llm-pool.toml")
        self.swap()

    def swap(self) -> None:
        """Put another version in the place of this one, in one step."""
        self._version += 1
        data = self._folder / f"..{self._version}"
        data.mkdir()
        (data / "llm-pool.toml").write_text(self._text())
        beside = self._folder / "..data_tmp"
        beside.symlink_to(data.name)
        os.replace(beside, self._folder / "..data")  # noqa: PTH105  a link, which Path.replace would follow on no system

    def _text(self) -> str:
        text = SERVING.format(
            port=PORT,
            hedge_after_ms=300 + self._version,
            deadline_ms=round(DEADLINE * 1000),
            redis=self._redis.address,
            key=KEY,
        )
        for model, url in zip(MODELS, self._machines, strict=True):
            text += PROVIDER.format(name=model.partition(":")[0], model=model, url=url, slots=SLOTS)
        return text + JUDGING.format(url=self._machines[0])


def upstream_options(model: str, folder: Path) -> list[str]:
    """The command line of the upstream with *model*, reachable from every host."""
    answers = folder / "answers.jsonl"
    says = {known: {"raw": colour} for known, colour in zip(MODELS, COLOURS, strict=True)}
    answers.write_text(json.dumps({"prompt": "Which colour has a clear sky by day?", "models": says}) + "\n")
    options = ["--host", GATEWAY, "--model", model, "--answers", str(answers), "--ttft", "lognormal:-4.6,0.5"]
    return [*options, "--model", ARBITER] if model == MODELS[0] else options

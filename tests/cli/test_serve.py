"""``llm-pool serve`` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from llm_pool.server.garbage import THRESHOLDS

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
[[providers]]
name = "a"
driver = "ollama"
model = "a"
base_url = "http://127.0.0.1:9"
"""
SERVE = """
import gc, sys
from llm_pool import __main__
from llm_pool.engine import PoolManager

async def swap(manager, config, own=PoolManager.swap):
    await own(manager, config)
    print(manager.generation, *gc.get_threshold(), gc.get_freeze_count(), flush=True)

PoolManager.swap = swap
__main__.main()
"""
"""The command line; a reload prints its generation and what the collector is set to."""


def test_the_collector_leaves_alone_what_was_there_when_serving_began(tmp_path: Path) -> None:
    """Also after a reload: else a full collection stops the daemon for a tenth of a second."""
    (tmp_path / "llm-pool.toml").write_text(CONFIG, encoding="utf-8")
    daemon = subprocess.Popen(
        [sys.executable, "-c", SERVE, "serve", "--config", str(tmp_path / "llm-pool.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LLM_POOL_STATE": str(tmp_path / "state")},
        text=True,
    )
    assert daemon.stdout is not None
    assert daemon.stderr is not None
    try:
        assert any(line.startswith("  http") for line in daemon.stderr)
        daemon.send_signal(signal.SIGHUP)
        generation, *thresholds, frozen = map(int, daemon.stdout.readline().split())
        daemon.terminate()
        daemon.communicate(timeout=20)
    finally:
        daemon.kill()

    assert (generation, tuple(thresholds)) == (2, THRESHOLDS)
    assert frozen > 20_000
    assert daemon.returncode == 0

"""
The process that holds one GGUF model: ``python -m llm_pool.providers.llamacpp_worker MODEL.gguf``.

It reads one JSON line of settings from stdin, loads the model, and writes one JSON line to stdout: ``{"url": ...}``
of the engine's own OpenAI-shaped server on loopback, or ``{"error": ...}``. Then it waits for the end of stdin,
which comes when its parent closes the pipe or dies in any way, and leaves.

The api key comes with the settings, not on the command line, which every user of the machine can read. The
engine's log goes to stderr. The model path is an argument only so that ``ps`` tells workers apart.

The engine holds the interpreter's lock while it loads, so a worker whose parent dies meanwhile leaves when the
load is done.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole foreground group; the parent decides
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the engine prints must not mix with our one line
    _raise_oom_score()
    settings = json.loads(sys.stdin.readline())
    try:
        server = _serve(sys.argv[1], settings)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        _reply(reply, {"error": str(error)})
        sys.exit(1)  # in good order: the engine's log is written by a thread, and says why
    _reply(reply, {"url": server.listening_address})
    sys.stdin.read()
    os._exit(0)  # at once: the engine's threads may be deep in a batch, and have nothing to save


def _serve(model: str, settings: dict[str, Any]) -> Any:
    """
    Load *model* and listen on a free port of 127.0.0.1.

    Args:
        model: path of a GGUF file.
        settings: ``key`` callers must present; ``slots`` calls at once; ``context`` tokens of each slot;
            ``batch`` prompt tokens between two looks at cancellations; ``threads``, ``gpu_layers`` or null.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {Path(model).stem}
    params.api_keys = [settings["key"]]
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"] * settings["slots"]
    params.n_batch = params.n_ubatch = settings["batch"]
    if threads := settings["threads"] or _threads_for(model):
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    if settings["gpu_layers"] is not None:
        params.n_gpu_layers = settings["gpu_layers"]
    params.kv_unified = False  # each slot has its own context, whatever the others hold
    params.cache_idle_slots = False
    params.cache_ram_mib = 0  # keeps the last prompt of each slot, but no more: the default may take 8 GiB
    params.warmup = False
    params.ui = False
    params.offline = True
    params.verbosity = 2  # warnings and errors
    return xllamacpp.Server(params)


def _threads_for(model: str) -> int | None:
    """
    One for a model of a few megabytes, the engine's own choice (None) for others.

    Threads of the engine spin while they wait for each other. On two busy cores a second thread took a 2 MB model
    from 1,400 tokens a second to between 8 and 2,500, and its start from 25 ms to 450.
    """
    return 1 if Path(model).stat().st_size < 64 << 20 else None


def _raise_oom_score() -> None:
    """When Linux runs out of memory it shall take this process, not the pool."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _reply(reply: Any, message: dict[str, str]) -> None:
    reply.write(json.dumps(message) + "\n")
    reply.flush()


if __name__ == "__main__":
    main()

"""
The last decisions that this machine's command line saw, for ``llm-pool why``.

A line each in the state folder: how an answer came about, without the question, the answers and what was thought,
unless ``telemetry.capture`` says that they may be kept. Keeping one never fails a command.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from llm_pool.wire.json import answer_from, answer_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from llm_pool.core.messages import Answer

MAX_BYTES = 1 << 20
"""Bytes of the file at which its older half is taken away."""


def decisions_path() -> Path:
    """The file; it need not exist."""
    from llm_pool.trust.learning import state_folder

    return state_folder() / "answered.jsonl"


def keep(answer: Answer, *, wall: float, text: bool) -> None:
    """Keep how *answer* came about at *wall* (Unix seconds), with *text* what was said too."""
    told = answer_json(answer)
    if not text:
        told = _without_text(told)
    line = msgspec.json.encode({"at": wall, "answer": told}) + b"\n"
    with suppress(OSError):
        path = decisions_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size + len(line) > MAX_BYTES:
            _cut(path)
        if len(line) <= MAX_BYTES // 2:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(file, "ab") as log:
                log.write(line)


def kept(request_id: str | None = None) -> Iterator[tuple[float, Answer]]:
    """Those kept, the newest first: when, and what is known of it; with *request_id* those of that request."""
    try:
        lines = decisions_path().read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in reversed(lines):
        with suppress(msgspec.DecodeError, KeyError, TypeError, ValueError):  # half a line, or another version's
            entry = msgspec.json.decode(line)
            answer = answer_from(entry["answer"])
            if request_id in {None, answer.request_id}:
                yield float(entry["at"]), answer


def _without_text(told: dict[str, Any]) -> dict[str, Any]:
    decision = told["decision"]
    attempts = [attempt | {"reasoning": None} for attempt in decision["attempts"]]
    clusters = [cluster | {"label": ""} for cluster in decision["clusters"]]
    return told | {
        "content": "",
        "json": None,
        "decision": decision | {"attempts": attempts, "clusters": clusters},
    }


def _cut(path: Path) -> None:
    """Leave the newer half of *path*."""
    data = path.read_bytes()[-MAX_BYTES // 2 :]
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.touch(0o600)
    new.write_bytes(data.partition(b"\n")[2])
    new.replace(path)

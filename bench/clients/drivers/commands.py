"""For drivers of command lines: what a user types, and what comes of it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import cells

PATIENCE = 300
"""Seconds that a command may take."""


def typed(text):
    """What a user types of *text*: its lines between the marks."""
    return "\n".join(
        line for line in text.strip().splitlines() if not line.startswith(("# <", "# </", "// <", "// </"))
    )


def write(name, text):
    """A file of the user's, here; folders are made."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.lstrip(), encoding="utf-8")
    return path


def shell(text):
    """
    What *text* writes, typed into a shell.

    Raises:
        RuntimeError: it exits with another status than 0.
    """
    ran = _run(text)
    if ran.returncode:
        raise RuntimeError(f"exit {ran.returncode}: {ran.stdout[-600:]} {ran.stderr[-600:]}")
    return ran.stdout


def fails(text):
    """How *text* fails in a shell: its exit status, and what it writes."""
    ran = _run(text)
    return {"type": f"exit {ran.returncode}", "message": ran.stdout + ran.stderr}


def _run(text):
    nothing = subprocess.DEVNULL
    return subprocess.run(
        text, shell=True, stdin=nothing, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def events(text):
    """The lines of JSON that *text* writes."""
    return [json.loads(line) for line in shell(text).splitlines() if line.startswith("{")]


def pieces(text):
    """What *text* writes, each time it writes."""
    with subprocess.Popen(
        text, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as command:
        return [piece.decode() for piece in iter(lambda: os.read(command.stdout.fileno(), 65536), b"")]


def interrupted(text, begun, later=0.0):
    """
    Type *text*, and Ctrl-C once it has written *begun*, or *later* by so many seconds; when it has ended.

    Raises:
        RuntimeError: it ends without writing that.
    """
    with subprocess.Popen(
        text, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as command:  # fmt: skip
        seen = b""
        while begun not in seen:
            piece = os.read(command.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError(f"it never wrote {begun!r}: {seen[-500:]!r}")
            seen += piece
        time.sleep(later)
        os.killpg(command.pid, signal.SIGINT)
        command.communicate(timeout=PATIENCE)
    return cells.now()

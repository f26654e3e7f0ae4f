"""For drivers of command lines: what a command writes, run as a user would type it."""

import subprocess
from pathlib import Path

LEFT_AFTER = 90
"""Seconds that a command may take."""


def shell(text):
    """
    Run *text* in a shell, here.

    Raises:
        RuntimeError: it exits with another status than 0.
    """
    ran = subprocess.run(text, shell=True, capture_output=True, text=True, timeout=LEFT_AFTER, check=False)
    if ran.returncode:
        raise RuntimeError(f"exit {ran.returncode}: {ran.stdout[-600:]} {ran.stderr[-600:]}")
    return ran.stdout


def fails(text):
    """How *text* fails in a shell: its exit status, and what it writes."""
    ran = subprocess.run(text, shell=True, capture_output=True, text=True, timeout=LEFT_AFTER, check=False)
    return {"type": f"exit {ran.returncode}", "message": ran.stdout + ran.stderr}


def typed(text):
    """What a user types of *text*: its lines between the marks."""
    return "\n".join(line for line in text.strip().splitlines() if not line.startswith("# configured:"))


def write(name, text):
    """A file of the user's, here; folders are made."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.lstrip(), encoding="utf-8")
    return path

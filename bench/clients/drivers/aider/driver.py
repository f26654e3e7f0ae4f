"""aider: a question, and an edit of a file."""

import os
import signal
import subprocess
from pathlib import Path

import cells
from cells import cell
from commands import fails, shell, typed, write

SETUP = """
# configured: begin (sh)
export OPENAI_API_BASE=http://127.0.0.1:7071/v1
export OPENAI_API_KEY=none
aider --model openai/pool
# configured: end
"""
AIDER = f"{typed(SETUP)} --no-git --no-check-update --no-show-model-warnings --no-pretty --yes-always"
MARK = "\n\n"


def said(output):
    """The answer, which stands between what aider says of itself and its count of tokens."""
    return output.partition("Repo-map")[2].partition("\n\n")[2].partition("\n\nTokens:")[0]


@cell
def plain():
    return {"text": said(shell(f"{AIDER} --no-stream --message '{cells.SKY}'")), }


@cell
def stream():
    return {"text": said(shell(f"{AIDER} --message '{cells.SEA}'"))}


@cell
def edit():
    note = write("note.txt", "The tide turns at noon.\n")
    shell(f"{AIDER} --edit-format whole --message 'Change note.txt to say six.' note.txt")
    return {"file": note.read_text()}


@cell
def error():
    return {
        "missing": fails(f"{AIDER} --model openai/{cells.MISSING} --message '{cells.SKY}'"),
        "broken": fails(f"{AIDER} --model openai/{cells.BROKEN} --message '{cells.SKY}'"),
    }

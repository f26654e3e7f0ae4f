"""aider: questions, and an edit of a file."""

import cells
from cells import cell
from commands import fails, interrupted, pieces, shell, typed, write

SETUP = """
# <configured sh>
export OPENAI_API_BASE=http://127.0.0.1:7071/v1
export OPENAI_API_KEY=none
aider --model openai/pool
# </configured>
"""
AIDER = f"{typed(SETUP)} --no-git --no-check-update --no-show-model-warnings --no-pretty --yes-always"
RELEASE_NOTES = "https://aider.chat/HISTORY.html#release-notes"


def said(output):
    """The answer, which stands between what aider says of itself and its count of tokens."""
    return output.partition("Repo-map: disabled")[2].replace(RELEASE_NOTES, "").partition("Tokens:")[0]


def joined(text):
    """*text* as it was before aider broke its lines and ruled them off."""
    return " ".join(text.replace("-" * 12, "").split())


@cell
def plain():
    return {"text": said(shell(f"{AIDER} --no-stream --message '{cells.SKY}'"))}


@cell
def stream():
    written = pieces(f"{AIDER} --stream --message '{cells.SEA}'")
    return {"text": joined(said("".join(written))), "pieces": len(written)}


@cell
def edit():
    note = write("note.txt", "The tide turns at noon.\n")
    shell(f"{AIDER} --message 'Change note.txt to say six.' note.txt")
    return {"file": note.read_text()}


@cell
def thinking():
    thought, _, text = said(shell(f"{AIDER} --message '{cells.WHY}'")).partition("► **ANSWER**")
    return {"text": joined(text), "thought": joined(thought.partition("► **THINKING**")[2])}


@cell
def error():
    return {
        "missing": fails(f"{AIDER} --model openai/{cells.MISSING} --message '{cells.SKY}'"),
        "broken": fails(f"{AIDER} --model openai/{cells.BROKEN} --message '{cells.SKY}'"),
    }


@cell
def leave():
    return {"left": interrupted(f"{AIDER} --stream --message '{cells.ENDLESS}'", b"word")}

"""Claude Code by `claude -p`: questions, an object, its shell."""

import json
import os

import cells
from cells import cell
from commands import events, fails, interrupted, shell, typed, write

SETUP = """
# <configured sh>
export ANTHROPIC_BASE_URL=http://127.0.0.1:7071
export ANTHROPIC_API_KEY=none
export ANTHROPIC_MODEL=pool
claude
# </configured>
"""
CLAUDE = typed(SETUP)
STREAMED = f"{CLAUDE} -p --verbose --output-format stream-json --include-partial-messages"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
os.environ["CLAUDE_CODE_MAX_RETRIES"] = "1"  # of a failing server it would ask ten times
write("note.txt", "The tide turns at noon.\n")


def deltas(question, kind):
    found = [event["event"] for event in events(f"{STREAMED} '{question}'") if event["type"] == "stream_event"]
    pieces = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    return [piece[kind] for piece in pieces if kind in piece]


@cell
def plain():
    return {"text": shell(f"{CLAUDE} -p '{cells.SKY}'")}


@cell
def stream():
    pieces = deltas(cells.SEA, "text")
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    said = shell(f"{CLAUDE} -p --output-format json --json-schema '{json.dumps(SCHEMA)}' '{cells.CITY}'")
    return {"value": json.loads(said)["structured_output"]}


@cell
def tools():
    return {"text": shell(f"{CLAUDE} -p --allowedTools Bash -- '{cells.NOTE}'")}


@cell
def thinking():
    said = [event["message"] for event in events(f"{STREAMED} '{cells.WHY}'") if event["type"] == "assistant"]
    blocks = {block["type"]: block for message in said for block in message["content"]}
    return {"text": blocks["text"]["text"], "thought": blocks["thinking"]["thinking"]}


@cell
def error():
    return {
        "missing": fails(f"{CLAUDE} --model {cells.MISSING} -p '{cells.SKY}'"),
        "broken": fails(f"{CLAUDE} --model {cells.BROKEN} -p '{cells.SKY}'"),
    }


@cell
def leave():
    return {"left": interrupted(f"{STREAMED} '{cells.ENDLESS}'", b"text_delta")}

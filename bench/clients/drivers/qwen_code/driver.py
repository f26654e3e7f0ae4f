"""Qwen Code by `qwen -p`: questions, an object, its shell."""

import json

import cells
from cells import cell
from commands import events, fails, interrupted, shell, typed, write

SETUP = """
# <configured sh>
export OPENAI_BASE_URL=http://127.0.0.1:7071/v1
export OPENAI_API_KEY=none
export OPENAI_MODEL=pool
qwen
# </configured>
"""
QWEN = typed(SETUP)
STREAMED = f"{QWEN} --output-format stream-json --include-partial-messages -p"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
write("note.txt", "The tide turns at noon.\n")


@cell
def plain():
    return {"text": shell(f"{QWEN} -p '{cells.SKY}'")}


@cell
def stream():
    found = [event["event"] for event in events(f"{STREAMED} '{cells.SEA}'") if event["type"] == "stream_event"]
    pieces = [event["delta"]["text"] for event in found if event["type"] == "content_block_delta"]
    return {"text": "".join(pieces), "pieces": len(pieces)}


@cell
def structured():
    said = events(f"{QWEN} --output-format stream-json --json-schema '{json.dumps(SCHEMA)}' -p '{cells.CITY}'")
    return {"value": said[-1]["structured_result"]}


@cell
def tools():
    return {"text": shell(f"{QWEN} --yolo -p '{cells.NOTE}'")}


@cell
def thinking():
    said = events(f"{QWEN} --output-format stream-json -p '{cells.WHY}'")
    blocks = {
        block["type"]: block for event in said if event["type"] == "assistant" for block in event["message"]["content"]
    }
    return {"text": blocks["text"]["text"], "thought": blocks["thinking"]["thinking"]}


@cell
def error():
    return {
        "missing": fails(f"{QWEN} -m {cells.MISSING} -p '{cells.SKY}'"),
        "broken": fails(f"{QWEN} -m {cells.BROKEN} -p '{cells.SKY}'"),
    }


@cell
def leave():
    return {"left": interrupted(f"{STREAMED} '{cells.ENDLESS}'", b"text_delta")}

"""Codex by `codex exec`: questions, an object, its shell, a picture."""

import base64
import json
from pathlib import Path

import cells
from cells import cell
from commands import events, fails, interrupted, shell, typed, write

CONFIG = """
# <configured toml>
# ~/.codex/config.toml
model = "pool"
model_provider = "llm-pool"

[model_providers.llm-pool]
name = "llm-pool"
base_url = "http://127.0.0.1:7071/v1"
wire_api = "responses"
# </configured>
"""
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
CODEX = "codex exec --skip-git-repo-check"
write(".codex/config.toml", typed(CONFIG))
write("schema.json", json.dumps(SCHEMA))
write("note.txt", "The tide turns at noon.\n")
Path("picture.png").write_bytes(base64.b64decode(cells.PNG))


def told(command):
    """The texts of what came, by kind; the last of each."""
    items = [event["item"] for event in events(command) if event["type"] == "item.completed"]
    return {item["type"]: item["text"] for item in items if "text" in item}


@cell
def plain():
    return {"text": shell(f"{CODEX} '{cells.SKY}'")}


@cell
def structured():
    return {"value": json.loads(shell(f"{CODEX} --output-schema schema.json '{cells.CITY}'"))}


@cell
def tools():
    return {"text": told(f"{CODEX} --json '{cells.NOTE}'")["agent_message"]}


@cell
def thinking():
    texts = told(f"{CODEX} --json -c show_raw_agent_reasoning=true '{cells.WHY}'")
    return {"text": texts["agent_message"], "thought": texts["reasoning"]}


@cell
def images():
    return {"text": shell(f"{CODEX} '{cells.PICTURE}' -i picture.png")}


@cell
def error():
    return {
        "missing": fails(f"{CODEX} -m {cells.MISSING} '{cells.SKY}'"),
        "broken": fails(f"{CODEX} -m {cells.BROKEN} '{cells.SKY}'"),
    }


@cell
def leave():
    return {"left": interrupted(f"{CODEX} --json '{cells.ENDLESS}'", b"turn.started", later=1.0)}

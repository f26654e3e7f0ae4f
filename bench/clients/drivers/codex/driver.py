"""Codex by `codex exec`: questions, an object, its shell, a picture."""

import base64
import json
from pathlib import Path

import cells
from cells import cell
from commands import events, fails, interrupted, shell, typed, write

CONFIG = """
# configured: begin (toml)
# ~/.codex/config.toml
model = "pool"
model_provider = "llm-pool"

[model_providers.llm-pool]
name = "llm-pool"
base_url = "http://127.0.0.1:7071/v1"
wire_api = "responses"
# configured: end
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


def items(question, kind):
    found = [event["item"] for event in events(f"{CODEX} --json '{question}'") if event["type"] == "item.completed"]
    return [item for item in found if item["type"] == kind]


@cell
def plain():
    return {"text": shell(f"{CODEX} '{cells.SKY}'")}


@cell
def structured():
    return {"value": json.loads(shell(f"{CODEX} --output-schema schema.json '{cells.CITY}'"))}


@cell
def tools():
    return {"text": items(cells.NOTE, "agent_message")[-1]["text"]}


@cell
def thinking():
    said = events(f"{CODEX} --json -c show_raw_agent_reasoning=true '{cells.WHY}'")
    texts = {event["item"]["type"]: event["item"]["text"] for event in said if event["type"] == "item.completed"}
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

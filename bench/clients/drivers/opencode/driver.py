"""opencode by `opencode run`: questions, its shell, a picture."""

import base64
from pathlib import Path

import cells
from cells import cell
from commands import events, fails, typed, write

CONFIG = """
// <configured json>
{
  "model": "llm-pool/pool",
  "provider": {
    "llm-pool": {
      "npm": "@ai-sdk/openai-compatible",
      "options": { "baseURL": "http://127.0.0.1:7071/v1", "apiKey": "none" },
      "models": {
        "pool": {
          "tool_call": true,
          "reasoning": true,
          "attachment": true,
          "modalities": { "input": ["text", "image"], "output": ["text"] }
        }
      }
    }
  }
}
// </configured>
"""
FURTHER = '"broken": {}, "no-such-model": {}, "pool": {'
RUN = "opencode run --format json"
write("opencode.json", typed(CONFIG).replace('"pool": {', FURTHER))
write("note.txt", "The tide turns at noon.\n")
Path("picture.png").write_bytes(base64.b64decode(cells.PNG))


def texts(command, kind="text"):
    return [event["part"]["text"] for event in events(command) if event["type"] == kind]


@cell
def plain():
    return {"text": texts(f"{RUN} '{cells.SKY}'")[-1]}


@cell
def tools():
    return {"text": texts(f"{RUN} '{cells.NOTE}'")[-1]}


@cell
def thinking():
    said = {event["type"]: event["part"].get("text") for event in events(f"{RUN} --thinking '{cells.WHY}'")}
    return {"text": said["text"], "thought": said["reasoning"]}


@cell
def images():
    return {"text": texts(f"{RUN} '{cells.PICTURE}' -f picture.png")[-1]}


@cell
def error():
    return {
        "missing": fails(f"{RUN} -m llm-pool/{cells.MISSING} '{cells.SKY}'"),
        "broken": fails(f"{RUN} -m llm-pool/{cells.BROKEN} '{cells.SKY}'"),
    }

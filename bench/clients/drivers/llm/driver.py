"""simonw's llm: a command line."""

import base64
import json
import os
from pathlib import Path

import cells
from cells import cell
from commands import fails, interrupted, pieces, shell, typed, write

MODELS = """
# <configured yaml>
# ~/.config/io.datasette.llm/extra-openai-models.yaml
- model_id: pool
  model_name: pool
  api_base: http://127.0.0.1:7071/v1
  supports_schema: true
  supports_tools: true
  vision: true
# </configured>
"""
FAILING = """
- {model_id: missing, model_name: no-such-model, api_base: "http://127.0.0.1:7071/v1"}
- {model_id: broken, model_name: broken, api_base: "http://127.0.0.1:7071/v1"}
"""
TOOL = """
def get_weather(city: str) -> str:
    "The weather in a city."
    return "18 degrees and sunny"
"""
write(".config/io.datasette.llm/extra-openai-models.yaml", typed(MODELS) + FAILING)
write("tool.py", TOOL)
Path("picture.png").write_bytes(base64.b64decode(cells.PNG))
os.environ["OPENAI_API_KEY"] = "none"
os.environ["OLLAMA_HOST"] = "http://127.0.0.1:7071"


@cell
def plain():
    return {"text": shell(f"llm -m pool --no-stream '{cells.SKY}'")}


@cell
def ollama_chat():
    return {"text": shell(f"llm -m ollama/pool --no-stream '{cells.SKY}'")}


@cell
def stream():
    said = pieces(f"llm -m pool '{cells.SEA}'")
    return {"text": "".join(said), "pieces": len(said)}


@cell
def structured():
    return {"value": json.loads(shell(f"llm -m pool --schema 'name, people int' '{cells.CITY}'"))}


@cell
def tools():
    said = shell(f"llm -m pool --functions tool.py '{cells.WEATHER}'")
    calls = json.loads(shell("llm logs list -n 2 --json"))
    (call,) = [call for row in calls for call in row["tool_calls"]]
    return {"call": call["name"], "arguments": call["arguments"], "text": said}


@cell
def error():
    return {"missing": fails(f"llm -m missing '{cells.SKY}'"), "broken": fails(f"llm -m broken '{cells.SKY}'")}


@cell
def embeddings():
    embed = f"llm embed -m ollama/{cells.EMBEDDER} -c"
    return {"vectors": [json.loads(shell(f"{embed} '{text}'")) for text in ("the sky", "the sea")]}


@cell
def images():
    return {"text": shell(f"llm -m pool -a picture.png '{cells.PICTURE}'")}


@cell
def leave():
    return {"left": interrupted(f"llm -m pool '{cells.ENDLESS}'", b"word")}

"""What the clients ask, what the scripted models say to it, and the pool between them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.testing.upstream import Model, ScriptedAnswer, ScriptedCall

if TYPE_CHECKING:
    from llm_pool.testing.upstream import TextRequest

SKY = "The sky is blue."
SEA = "The sea is wide and deep, it is never still, and it has been there before any of us."
GOES_ON = " It is so by day."
"""What is said after an answer that was begun with SKY."""
WHY = "Air scatters blue light the most."
THOUGHT = "Short waves scatter more than long ones."
CITY = {"name": "Rome", "people": 2800000}
WEATHER = "18 degrees and sunny"
TOOL, ARGUMENTS = "get_weather", {"city": "Rome"}
NOTE = "The tide turns at noon."
"""What the file ``note.txt`` says that coding agents are asked to read with their tools."""
EDITED = "The tide turns at six."

MISSING = "no-such-model"
BROKEN = "broken"
"""A provider whose backend answers 500 to everything."""
EMBEDDER = "nomic-embed-text"

MODELS = (
    Model(name="phi3:mini", capabilities=("completion", "tools", "vision", "thinking")),
    Model(name="gemma2:9b", capabilities=("completion", "tools", "vision")),
    Model(name=f"{EMBEDDER}:latest", embeds=True),
    Model(name=f"{BROKEN}:latest"),
)

CONFIG = """
[server]
http_addr = "127.0.0.1:0"
enable_grpc = false
origins = ["{origin}"]

[breaker]
min_calls = 10000          # every client meets the failing backend itself
window_size = 10000

[discovery]
enabled = false

[[providers]]
name = "phi3"
driver = "ollama"
model = "phi3:mini"
base_url = "{upstream}"

[[providers]]
name = "gemma2"
driver = "openai"
model = "gemma2:9b"
base_url = "{upstream}"

[[providers]]
name = "broken"
driver = "ollama"
model = "broken:latest"
base_url = "{upstream}"

[[providers]]
name = "nomic"
driver = "ollama"
model = "nomic-embed-text:latest"
base_url = "{upstream}"
tasks = ["embed"]

[models]
"nomic-embed-text" = "nomic"
"""

READS_A_FILE: dict[str, Any] = {
    "exec_command": {"cmd": "cat note.txt"},
    "shell_command": {"command": "cat note.txt"},
    "shell": {"command": ["cat", "note.txt"]},
    "local_shell": {"command": ["cat", "note.txt"]},
    "Bash": {"command": "cat note.txt", "description": "Reads the note"},
    "bash": {"command": "cat note.txt", "description": "Reads the note"},
    "run_shell_command": {"command": "cat note.txt", "is_background": False},
}
"""How a coding agent's own tool reads ``note.txt``, by the tool's name."""

ENDLESS = ScriptedAnswer("word " * 4000, duration=400.0)


def answer(asked: TextRequest) -> ScriptedAnswer | None:
    """
    What a model says that does as it is told; None leaves it to the upstream, which repeats the question.

    Answers come in pieces with time between them, as those of models do.
    """
    if asked.results:
        return _spoken(f"It says: {asked.results[-1]}")
    call = _call(asked)
    if call is not None:
        return ScriptedAnswer("", calls=(call,))
    if asked.images and "[[ ## completed ## ]]" not in asked.text:
        return _spoken(_seen(asked))
    if _has_city(asked.schema):
        return _spoken(msgspec.json.encode(CITY).decode())
    return _text(asked)


def _text(asked: TextRequest) -> ScriptedAnswer | None:
    if "[[ ## completed ## ]]" in asked.text:
        return _in_fields(asked)
    if "Name a city" in asked.text:
        return _spoken(msgspec.json.encode(CITY).decode())
    if asked.user.strip() == SKY:
        return _spoken(GOES_ON)
    if "does the tide turn" in asked.text:
        return _spoken(NOTE if NOTE in asked.text else "I do not know.")
    for words, said in (
        ("endless", ENDLESS),
        ("Why is", _spoken(WHY, THOUGHT)),
        (
            "Tell me of the sea",
            ScriptedAnswer(SEA, duration=0.8),
        ),  # a busy machine joins what comes in quick succession
        ("note.txt to say", _spoken(f"note.txt\n```\n{EDITED}\n```\n")),
        ("What colour is the sky", _spoken(SKY)),
    ):
        if words in asked.text:
            return said
    return None


def _in_fields(asked: TextRequest) -> ScriptedAnswer:
    """What dspy's agent and its modules ask for: fields between marks, as its system prompt tells."""
    if "next_tool_name" in asked.text:
        done = WEATHER in asked.text
        name, arguments = ("finish", {}) if done else (TOOL, ARGUMENTS)
        called = {"next_tool_name": name, "next_tool_args": msgspec.json.encode(arguments).decode()}
        return _fields(next_thought="Let me see.", **called)
    text = f"It says: {WEATHER}" if WEATHER in asked.text else SEA if "the sea" in asked.text else SKY
    if asked.images:
        text = _seen(asked)
    return _fields(reasoning="It is so.", answer=text) if "## reasoning ##" in asked.text else _fields(answer=text)


def _fields(**fields: str) -> ScriptedAnswer:
    marked = "".join(f"[[ ## {name} ## ]]\n{text}\n\n" for name, text in fields.items())
    return _spoken(f"{marked}[[ ## completed ## ]]")


def _call(asked: TextRequest) -> ScriptedCall | None:
    offered = {tool["name"] for tool in asked.tools}
    if TOOL in offered and "weather" in asked.text:
        return ScriptedCall(TOOL, msgspec.json.encode(ARGUMENTS).decode())
    if "note.txt" in asked.text:
        for name in offered & READS_A_FILE.keys():
            return ScriptedCall(name, msgspec.json.encode(READS_A_FILE[name]).decode())
    for tool in asked.tools:
        if _has_city(tool.get("parameters")):
            return ScriptedCall(tool["name"], msgspec.json.encode(CITY).decode())
    return None


def _has_city(schema: dict[str, Any] | None) -> bool:
    return CITY.keys() <= (schema or {}).get("properties", {}).keys()


def _seen(asked: TextRequest) -> str:
    sizes = ", ".join(f"{len(base64.b64decode(image))} bytes" for image in asked.images)
    return f"{len(asked.images)} picture, {sizes}."


def _spoken(text: str, reasoning: str = "") -> ScriptedAnswer:
    return ScriptedAnswer(text, duration=0.2, reasoning=reasoning)

"""Whether what a client told is what was said to it: a plain function for each cell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bench.clients import scenario
from llm_pool.testing.upstream.embeddings import vector

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.clients.catalog import Client

STOPPED_WITHIN = 0.2
"""Seconds from a client's leaving to the end of the call at the backend."""
PIECES = 3
"""Of a stream, at least; the model writes more, and some clients join a few."""


def explained(client: Client, cell: str, wrong: str) -> str:
    """The reason that is known to be the client's own in the place of *wrong*; wrong too where it fails no longer."""
    known = client.fails.get(cell, "")
    if known and not wrong:
        return f"it works, and client.toml says that it fails: {known}"
    return known or wrong


def verdict(client: Client, cell: str, told: dict[str, Any]) -> str:
    """What is wrong with what *client* told of *cell*; empty where nothing is."""
    if "raised" in told:
        return str(told["raised"]).strip().splitlines()[0][:300]
    if cell == "error":
        return _errors(client, told)
    return RULES.get(cell, _text(scenario.SKY))(told)


def stopped(left: float, ended: float | None) -> str:
    """What is wrong with a call that the client had left by *left*; *ended* is when the backend saw it stop."""
    if ended is None:
        return "the model went on after the client had left"
    late = ended - left
    return "" if late < STOPPED_WITHIN else f"the model was stopped only {late:.2f} s after the client had left"


def _text(expected: str) -> Callable[[dict[str, Any]], str]:
    """A rule: the text is *expected*, and came in pieces where pieces are told."""

    def judge(told: dict[str, Any]) -> str:
        text = str(told.get("text")).strip()
        if text != expected:
            return f"said {text[:200]!r}, not {expected!r}"
        return _pieces(told) if "pieces" in told else ""

    return judge


def _pieces(told: dict[str, Any]) -> str:
    return "" if told["pieces"] >= PIECES else f"the stream came in {told['pieces']} piece(s)"


def _stream(told: dict[str, Any]) -> str:
    """The text of the sea, in pieces; or a city, which comes when it has been checked, so in one piece."""
    if "value" in told:
        return _structured(told)
    return _text(scenario.SEA)({"pieces": 0, **told})


def _responses(told: dict[str, Any]) -> str:
    return _text(scenario.SKY)({"text": told["text"]}) or _stream({"text": told["streamed"], "pieces": told["pieces"]})


def _structured(told: dict[str, Any]) -> str:
    value = told.get("value")
    return "" if value == scenario.CITY else f"gave {value!r}, not {scenario.CITY!r}"


def _tools(told: dict[str, Any]) -> str:
    """The call is the model's, and its result came back to it. A coding agent runs its own tools, and tells the end."""
    if "call" not in told:
        text = str(told.get("text"))
        return "" if scenario.NOTE in text else f"said {text[-200:]!r}, which is not what note.txt says"
    arguments = told.get("arguments")
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if (told.get("call"), arguments) != (scenario.TOOL, scenario.ARGUMENTS):
        return f"called {told.get('call')!r} with {arguments!r}, not {scenario.TOOL!r} with {scenario.ARGUMENTS!r}"
    text = str(told.get("text"))
    return "" if scenario.WEATHER in text else f"said {text[:200]!r} of the tool's {scenario.WEATHER!r}"


def _errors(client: Client, told: dict[str, Any]) -> str:
    """The client's own classes, and a message that names the model."""
    assert client.errors is not None
    for kind, model in (("missing", scenario.MISSING), ("broken", scenario.BROKEN)):
        raised, expected = told[kind], getattr(client.errors, kind)
        if expected is None:
            continue
        if raised["type"] != expected:
            return f"{kind}: raised {raised['type'] or 'nothing'} ({raised['message'][:200]}), not {expected}"
        if model not in raised["message"]:
            return f"{kind}: the message does not name {model!r}: {raised['message'][:200]!r}"
    return ""


def _embeddings(told: dict[str, Any]) -> str:
    """The model's own numbers; or, of a client that keeps them to itself, the text that it finds by them."""
    if "found" in told:
        return _text(scenario.NOTE)({"text": told["found"]})
    expected = [vector(f"{scenario.EMBEDDER}:latest", text) for text in ("the sky", "the sea")]
    vectors = told.get("vectors")
    if not isinstance(vectors, list) or [len(found) for found in vectors] != [len(found) for found in expected]:
        return f"gave {str(vectors)[:100]}, not two vectors of {len(expected[0])} numbers"
    far = max(
        abs(a - b) for found, wanted in zip(vectors, expected, strict=True) for a, b in zip(found, wanted, strict=True)
    )
    return "" if far < 1e-6 else "gave other numbers than the model did"


def _thinking(told: dict[str, Any]) -> str:
    thought = str(told.get("thought")).strip()
    return _text(scenario.WHY)(told) or ("" if thought == scenario.THOUGHT else f"thought {thought[:200]!r}")


def _edit(told: dict[str, Any]) -> str:
    text = str(told.get("file")).strip()
    return "" if text == scenario.EDITED else f"the file says {text[:200]!r}, not {scenario.EDITED!r}"


def _listing(told: dict[str, Any]) -> str:
    """The pool is among the models, and says what it can do."""
    names, able = told["names"], told["capabilities"]
    if not any(name.removesuffix(":latest") == "pool" for name in names):
        return f"listed {names}, without 'pool'"
    return "" if {"completion", "tools", "vision"} <= set(able) else f"the pool can only {able}"


RULES: dict[str, Callable[[dict[str, Any]], str]] = {
    "plain": _text(scenario.SKY),
    "stream": _stream,
    "responses": _responses,
    "structured": _structured,
    "tools": _tools,
    "embeddings": _embeddings,
    "thinking": _thinking,
    "images": _text("1 picture, 70 bytes."),
    "edit": _edit,
    "listing": _listing,
    "refused": lambda told: "the page of a stranger could read the answer" if told["read"] else "",
    "json_schema": _structured,
    "continued": _text(scenario.SKY + scenario.GOES_ON),
    "rag": _text(scenario.NOTE),
}

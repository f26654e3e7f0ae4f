"""sdk/openapi.json is the daemon's own document, and the vectors have its shapes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "sdk" / "openapi.json"
DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))


def check(name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    jsonschema_rs.validator_for(schema).validate(value)


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((ROOT / "sdk" / "vectors" / name).read_text(encoding="utf-8"))
    return loaded


def test_it_is_the_daemons_own() -> None:
    """``python tools/openapi.py`` writes it anew."""
    assert FILE.read_text(encoding="utf-8") == runpy.run_path(str(ROOT / "tools" / "openapi.py"))["text"]()


def test_events_have_its_shapes() -> None:
    """Of every kind."""
    told = [event for case in vectors("streams.json") for event in case["events"]]

    for event in told:
        check("StreamEvent", event)
    mapping = DOCUMENT["components"]["schemas"]["StreamEvent"]["discriminator"]["mapping"]
    assert {event["type"] for event in told} == set(mapping)


def test_an_event_of_another_shape_is_told_apart() -> None:
    """The check above can fail."""
    with pytest.raises(jsonschema_rs.ValidationError):
        check("StreamEvent", {"type": "delta", "v": 1, "provider": "phi3", "text": 7, "final": True})


def test_requests_and_answers_have_its_shapes() -> None:
    for case in vectors("requests.json"):
        if "refused" not in case:
            name = "HealthBody" if case["call"] == "health" else "AnswerBody"
            check(name, json.loads(case["response"]["body"]))
        if case["call"] == "infer":
            check("InferBody", case["request"]["body"])


def test_errors_have_its_shape() -> None:
    for case in vectors("errors.json"):
        if "message" in case["error"]:
            check("ErrorBody", json.loads(case["response"]["body"]))

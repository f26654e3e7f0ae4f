"""The generated classes are those of the .proto file."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_classes_are_what_protoc_makes_of_the_proto_file() -> None:
    """Nobody edits one without the other. The compiler's own version may differ."""
    pytest.importorskip("grpc_tools")
    made = runpy.run_path(str(ROOT / "tools" / "stubs.py"))["stubs"]()

    kept = {path.name: path.read_text() for path in (ROOT / "llm_pool" / "wire").glob("*_pb2.py*")}

    assert {name: _without_version(text) for name, text in kept.items()} == {
        name: _without_version(text) for name, text in made.items()
    }


def _without_version(text: str) -> str:
    return re.sub(r"# Protobuf Python Version: .*|\n    \d+,", "", text)

"""Writes the OpenAPI document of our own API anew, of which the SDKs' types are made: ``python tools/openapi.py``."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi import FastAPI

from llm_pool import __version__
from llm_pool.server.openapi import document

TARGET = Path(__file__).parents[1] / "sdk" / "openapi.json"


def text() -> str:
    """The document, without the APIs of others."""
    app = FastAPI(title="llm-pool", version=__version__)
    return json.dumps(document(app, ()), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.name}")

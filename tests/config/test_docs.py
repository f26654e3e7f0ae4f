"""Generated files are as the structs say."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from llm_pool.config import builtin_config, docs, schema
from llm_pool.config.load import raw_tables

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "run: python -m llm_pool.config.docs"


def test_the_page_is_up_to_date() -> None:
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == docs.markdown(), AGAIN


def test_the_schema_is_up_to_date() -> None:
    assert (DOCS / "llm-pool.schema.json").read_text(encoding="utf-8") == schema.as_text(), AGAIN


def test_both_are_written_at_once(tmp_path: Path) -> None:
    docs.write(tmp_path)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["configuration.md", "llm-pool.schema.json"]


def test_the_schema_accepts_the_built_in_file() -> None:
    raw = raw_tables(builtin_config().read_text(encoding="utf-8"), builtin_config())

    jsonschema_rs.validator_for(schema.json_schema()).validate(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {"qos": {"hedge_afer_ms": 1}},
        {"qos": {"hedge_after_ms": 0}},
        {"ensemble": {"default_strategy": "FASTETS"}},
        {"tasks": {"../x": {}}},
        {"providers": [{"name": "x"}]},
        {"cache": {"url": 1}},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(raw: dict[str, object]) -> None:
    assert not jsonschema_rs.is_valid(schema.json_schema(), raw)

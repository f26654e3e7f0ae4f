"""The configuration written out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llm_pool.config import parse
from llm_pool.config.show import as_json, as_toml, origins, sections_of

if TYPE_CHECKING:
    from llm_pool.config import Config

HERE = Path("folder/llm-pool.toml")
TEXT = """\
[server]
listen_addr = "h:1"
[[providers]]
name = "one"
driver = "http"
base_url = "http://h:2"
model = "m"
weight = 0.5
[providers.request]
body = { a = { "b c" = ["\\u007f\\"é", 1, true, 1.5] } }
[groups."http://h:2"]
slots = 2
[cache]
url = "redis://:hunter2@h/0"
[ensemble.strategy_by_task]
x = "JUDGE"
[tenancy.t]
api_key = "hunter2"
"""


def _config() -> Config:
    return parse(TEXT, HERE)


def test_what_is_shown_says_the_same_again() -> None:
    """It is TOML that loads to an equal configuration, apart from the masked secrets."""
    shown = as_toml(_config())

    unmasked = shown.replace('url = "***"', 'url = "redis://:hunter2@h/0"').replace("***", "hunter2")
    assert "hunter2" not in shown
    assert sections_of(parse(unmasked, HERE)) == sections_of(_config())


def test_each_value_says_where_it_comes_from() -> None:
    """File and line, or that it is a default; the other name of an address counts as the address."""
    lines = as_toml(_config(), origins(_config(), TEXT)).splitlines()

    assert lines[0] == "# folder/llm-pool.toml"
    assert {line.split(" = ")[0]: line.split("  # ")[1] for line in lines if " = " in line}.items() >= {
        "http_addr": "llm-pool.toml:2",
        "weight": "llm-pool.toml:8",
        "strategy_by_task.x": "llm-pool.toml:16",
        "slots": "llm-pool.toml:12",
        "hedge": "default",
    }.items()


def test_json_has_the_same_values_and_masks_too() -> None:
    """Nested for programs that want values, flat for those that ask for the origin of each."""
    nested = as_json(_config())
    flat = as_json(_config(), origins(_config(), TEXT))

    assert nested["providers"][0]["weight"] == 0.5
    assert flat["providers[0].weight"] == {"value": 0.5, "origin": "llm-pool.toml:8"}
    assert flat['groups."http://h:2".slots'] == {"value": 2, "origin": "llm-pool.toml:12"}
    assert flat["cache.url"] == {"value": "***", "origin": "llm-pool.toml:14"}
    assert "hunter2" not in f"{nested}{flat}"

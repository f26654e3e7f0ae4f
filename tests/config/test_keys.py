"""The catalogue of keys."""

from __future__ import annotations

import tomllib

import msgspec
import pytest

from llm_pool.config.keys import Key, matching_keys, tables
from llm_pool.config.values import decode_secret

EVERY_KEY = [key for table in tables() for key in table.keys]


@pytest.mark.parametrize("key", EVERY_KEY, ids=lambda key: key.path)
def test_every_key_is_explained(key: Key) -> None:
    """A sentence of its own, and an example that loads wherever there is no default to look at."""
    assert key.type_info.doc.endswith(".")
    if key.default is None and not key.required:
        assert key.example
    for example in key.type_info.examples:
        msgspec.convert(example, key.type_info.annotation, dec_hook=decode_secret)


def test_every_table_is_explained() -> None:
    """In a sentence under its heading."""
    assert all(table.description[0].endswith(".") for table in tables())


def test_defaults_and_examples_are_toml() -> None:
    """So that they can be copied."""
    for key in EVERY_KEY:
        for written in (key.default_text, key.example):
            if written not in {"", "unset", "required"}:
                tomllib.loads(f"x = {written}")


@pytest.mark.parametrize(
    ("asked", "paths"),
    [
        ("qos.hedge_after_ms", ["qos.hedge_after_ms"]),
        ("ensemble.consensus.quorum", ["ensemble.consensus.quorum"]),
        ("providers.weight", ["providers[].weight"]),
        ("providers[2].weight", ["providers[].weight"]),
        ("providers.request.body", ["providers[].request.body"]),
        ("tasks.translate.strategy", ["tasks.<name>.strategy"]),
        ("idempotency", ["idempotency.ttl_seconds"]),
        ("qos.nonsense", []),
    ],
)
def test_keys_are_found_as_people_write_them(asked: str, paths: list[str]) -> None:
    """With or without indexes, with a task's own name, or a whole table."""
    assert [key.path for key in matching_keys(asked)] == paths


def test_a_key_says_what_it_accepts() -> None:
    """Range and unit, words, and which drivers read it."""
    (hedge,) = matching_keys("qos.hedge_after_ms")
    (threads,) = matching_keys("providers.threads")

    assert hedge.accepts == "an integer from 1 to 86400000 (ms)"
    assert hedge.default_text == "300"
    assert threads.doc.endswith("Only for `llamacpp`.")
    assert threads.default_text == "unset"

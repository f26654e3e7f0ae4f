"""The files that ``config init`` writes."""

from __future__ import annotations

import re

import pytest

from llm_pool.config import builtin_config, load, parse, starter
from llm_pool.config.keys import tables
from llm_pool.config.show import sections_of


@pytest.mark.parametrize("text", [starter.short(), starter.full()], ids=["short", "full"])
def test_a_new_file_says_what_the_built_in_one_says(text: str) -> None:
    """Writing one changes nothing, and it points to no schema that is not there."""
    builtin = load(builtin_config(), env={})

    assert sections_of(parse(text, builtin_config(), {})) == sections_of(builtin)
    assert "#:schema" not in text


def test_the_full_file_has_every_key() -> None:
    """Set or commented out."""
    names = {key.name.replace("<name>", "name") for table in tables() for key in table.keys}

    assert names == {name for name in names if re.search(rf"^(# )?{name}( =|\.)", starter.full(), re.MULTILINE)}


def test_commented_keys_load_when_they_are_uncommented() -> None:
    """A person deletes the comment sign, and has a value that is accepted."""
    unset = {"url", "timeout_ms", "group", "prompt_variant", "keep_alive", "ttl_seconds", "temperature"}
    text = re.sub(rf"^# (({'|'.join(unset)}) = )", r"\1", starter.full(), flags=re.MULTILINE)

    config = parse(text, builtin_config(), {})

    assert config.providers[0].keep_alive == "30m"
    assert config.task("ask").temperature == 0.2

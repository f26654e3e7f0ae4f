"""What the sections say together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llm_pool.config import builtin_config, load, parse, prompts_folder
from llm_pool.core.messages import StrategyName

if TYPE_CHECKING:
    from collections.abc import Callable

    from llm_pool.config import Config


def test_a_tasks_strategy_is_its_own_then_the_tables_then_the_default(read: Callable[..., Config]) -> None:
    """Both places name it; one that is switched off gives way to the default."""
    config = read(
        """
[ensemble]
default_strategy = "WEIGHTED"
disabled = ["JUDGE"]
[ensemble.strategy_by_task]
a = "VOTING"
b = "JUDGE"
[tasks.c]
strategy = "CONSENSUS"
"""
    )

    assert [config.strategy_for(task) for task in "abcd"] == [
        StrategyName.VOTING,
        StrategyName.WEIGHTED,
        StrategyName.CONSENSUS,
        StrategyName.WEIGHTED,
    ]


def test_a_task_may_have_its_own_times_prompt_and_providers(read: Callable[..., Config]) -> None:
    """Milliseconds come out as seconds, paths from the file's folder; other tasks have the defaults."""
    config = read(
        """
[tasks.slow]
deadline_ms = 60000
ttl_seconds = 0
prompt = "prompts/slow.md"
providers = ["one"]
"""
    )

    assert (config.deadline_for("slow"), config.deadline_for("other")) == (60.0, None)
    assert (config.ttl_for("slow"), config.ttl_for("other")) == (0.0, 900.0)
    assert config.prompt_files == {"slow": Path("folder/prompts/slow.md")}
    assert (config.providers_for("slow"), config.providers_for("other")) == (("one",), ())


def test_prompts_are_looked_for_beside_the_file_too(read: Callable[..., Config]) -> None:
    """After those that come with the package; the built-in file stands beside these, and names them once."""
    assert read().prompt_folders == (prompts_folder(), Path("folder/prompts"))
    assert load(builtin_config()).prompt_folders == (prompts_folder(),)


def test_a_provider_that_is_off_is_left_out(read: Callable[..., Config]) -> None:
    """The kill switch of a provider."""
    config = read('enabled = false\n[[providers]]\nname = "two"\ndriver = "llamacpp"\nmodel = "m"')

    assert [provider.name for provider in config.active_providers] == ["two"]


@pytest.mark.parametrize(
    ("provider", "machine", "slots"),
    [
        ('driver = "ollama"\nbase_url = "http://a:1/"', "http://a:1", 1),
        ('driver = "openai"\nbase_url = "http://a:1"', "http://a:1", 8),
        ('driver = "llamacpp"', "embedded", 1),
        ('driver = "openai"\nbase_url = "http://a:1"\ngroup = "gpu"', "gpu", 8),
        ('driver = "openai"\nbase_url = "http://a:1"\ngroup = "gpu"\n[groups.gpu]\nslots = 3', "gpu", 3),
    ],
)
def test_providers_of_one_machine_share_its_slots(provider: str, machine: str, slots: int) -> None:
    """A group is named, or the address; local engines take one call at once, servers that batch take several."""
    config = parse(f'[[providers]]\nname = "x"\nmodel = "m"\n{provider}', Path("f"))

    assert config.providers[0].machine == machine
    assert config.slots_of(machine) == slots

"""Found models in the place of missing ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from llm_pool.config import Config, Driver, builtin_config, load, parse, starter
from llm_pool.config.show import sections_of
from llm_pool.discovery import Finding, choosing, standing_in
from llm_pool.discovery.models import FoundModel
from llm_pool.discovery.servers import servers_to_ask

SERVERS = servers_to_ask({})
ALL_TASKS = {
    "ask",
    "enrich_metadata",
    "expand_queries",
    "judge",
    "recovery_plan",
    "rerank_candidates",
    "site_tactics",
}


@pytest.fixture
def builtin() -> Config:
    return load(builtin_config(), env={})


def model(name: str, size: float = 2.0, url: str = "http://127.0.0.1:11434") -> FoundModel:
    driver = Driver.OLLAMA if url.endswith("11434") else Driver.OPENAI
    return FoundModel(name=name, server="x", driver=driver, url=url, size=int(size * 1e9))


def regular(config: Config) -> list[str]:
    return [provider.model for provider in config.providers if not provider.last_resort]


def test_with_all_of_the_trio_the_file_is_as_it_is(builtin: Config) -> None:
    found = [model("phi3:mini"), model("llama3.1:8b"), model("gemma2:9b"), model("qwen3:4b")]

    assert standing_in(builtin, found, SERVERS) == Finding(builtin)


def test_with_nothing_found_the_file_is_as_it_is(builtin: Config) -> None:
    assert standing_in(builtin, [], SERVERS) == Finding(builtin)


def test_one_model_serves_every_task_before_the_last_resort(builtin: Config) -> None:
    finding = standing_in(builtin, [model("qwen3:4b")], SERVERS)

    first, *others = finding.config.providers
    assert (first.model, set(first.tasks), first.weight) == ("qwen3:4b", ALL_TASKS, 1.0)
    assert [provider.name for provider in others] == ["pocket-a", "pocket-b", "pocket-c"]
    assert finding.config.judge.providers == ()
    assert "qwen3:4b (x) serves" in finding.note
    assert "phi3:mini, llama3.1:8b and gemma2:9b" in finding.note


def test_three_models_have_the_tasks_of_the_default_table_by_size(builtin: Config) -> None:
    found = [model("qwen3:14b", 0.9), model("gemma3:4b", 0.3), model("phi4-mini", 0.2)]

    config = standing_in(builtin, found, SERVERS).config

    assert [provider.tasks for provider in config.providers] == [provider.tasks for provider in builtin.providers]
    assert regular(config) == ["phi4-mini", "gemma3:4b", "qwen3:14b"]
    assert [provider.weight for provider in config.providers[:3]] == [0.5, 0.6, 1.0]


def test_what_is_installed_of_the_trio_stays_as_it_is(builtin: Config) -> None:
    """The others take the tasks of those that are missing, and no more than three are asked."""
    found = [model("llama3.1:8b", 0.5), model("qwen3:4b", 0.2), model("gemma3:4b", 0.3), model("phi4", 0.4)]

    config = standing_in(builtin, found, SERVERS).config

    assert config.providers[0] == builtin.providers[1]
    assert len(regular(config)) == 3
    assert config.judge.providers == ("llama31",)


def test_names_are_compared_as_ollama_does(builtin: Config) -> None:
    found = [model("PHI3:mini"), model("library/llama3.1:8b"), model("gemma2:9b")]

    assert not standing_in(builtin, found, SERVERS).models


def test_with_ollama_elsewhere_the_trio_at_home_is_missing(builtin: Config) -> None:
    servers = servers_to_ask({"OLLAMA_HOST": "gpu-box:11434"})

    finding = standing_in(builtin, [model("phi3:mini", url="http://gpu-box:11434")], servers)

    assert [(one.model, one.base_url) for one in finding.config.providers[:1]] == [
        ("phi3:mini", "http://gpu-box:11434")
    ]


@pytest.mark.parametrize("found", [(), ("phi3:mini", "llama3.1:8b", "gemma2:9b")])
def test_the_trio_is_asked_where_ollama_is(builtin: Config, found: tuple[str, ...]) -> None:
    """Also where nothing was found there: it may only have been slow to tell."""
    servers = servers_to_ask({"OLLAMA_HOST": "gpu-box"})
    models = [
        FoundModel(name=name, server="x", driver=Driver.OLLAMA, url="http://gpu-box:11434", size=2) for name in found
    ]

    finding = standing_in(builtin, models, servers)

    trio = [provider for provider in finding.config.providers if provider.driver is Driver.OLLAMA]
    assert {provider.base_url for provider in trio} == {"http://gpu-box:11434"}
    assert [provider.model for provider in trio] == ["phi3:mini", "llama3.1:8b", "gemma2:9b"]
    assert finding.note == ""


def test_providers_on_other_machines_are_nobodys_business() -> None:
    """Nor are those at ports that no server has by default."""
    text = "".join(
        f'[[providers]]\nname = "{name}"\ndriver = "openai"\nbase_url = "{url}"\nmodel = "m"\n'
        for name, url in (("far", "http://10.0.0.9:8000"), ("own", "http://127.0.0.1:9999"))
    )
    config = parse(f"[discovery]\nenabled = true\n{text}", Path("llm-pool.toml"), {})

    assert standing_in(config, [model("qwen3:4b")], SERVERS) == Finding(config)


def test_tasks_bound_to_a_missing_provider_are_free() -> None:
    text = (
        '[tasks.ask]\nproviders = ["gone"]\n[judge]\nmodel_provider = ["gone", "far"]\n'
        '[[providers]]\nname = "gone"\ndriver = "ollama"\nbase_url = "http://localhost:11434/"\nmodel = "m"\n'
        '[[providers]]\nname = "far"\ndriver = "openai"\nbase_url = "http://10.0.0.9:8000"\nmodel = "m"\n'
    )
    config = standing_in(parse(text, Path("x.toml"), {}), [model("qwen3:4b")], SERVERS).config

    assert [provider.name for provider in config.providers] == ["far", "qwen3:4b"]
    assert config.task("ask").providers == ()
    assert config.judge.providers == ("far",)


def test_names_are_short_clean_and_each_its_own(builtin: Config) -> None:
    found = [
        model("hf.co/some one/Qwen3 4B:Q4", 0.2),
        model("qwen3:4b", 0.3),
        model("qwen3:4b", 0.4, url="http://127.0.0.1:1234"),
        model("x" * 200, 0.5),
    ]

    config = choosing(builtin, found).config

    assert [provider.name for provider in config.providers[:4]] == ["Qwen3-4B:Q4", "qwen3:4b", "qwen3:4b-2", "x" * 60]


@pytest.mark.parametrize(
    "found",
    [
        [model("qwen3:4b")],
        [model("qwen3:4b"), model("gemma3:4b", 3)],
        [model("qwen3:4b"), model("gemma3:4b", 3), model("vllm/Mistral-7B", 4, url="http://127.0.0.1:8000")],
        [model("phi3:mini"), model("qwen3:4b")],
        [model("llama3.1:8b"), model('odd "name"\\\n')],
    ],
    ids=len,
)
def test_what_init_writes_is_what_counts(builtin: Config, found: list[FoundModel]) -> None:
    """Letter by letter the built-in file, and the same configuration; but nothing more is looked for."""
    config = standing_in(builtin, found, SERVERS).config
    text = starter.with_providers(config, {})

    written = parse(text, builtin_config(), {})

    assert sections_of(written) == sections_of(msgspec.structs.replace(config, discovery=written.discovery))
    assert not written.discovery.enabled
    assert "# after 10 % failures" in text

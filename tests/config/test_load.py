"""Reading a file: what loads, and the exact sentence for what does not."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import CacheDriver, Config, Driver, Secret, builtin_config, load, parse
from llm_pool.config.models import Sections
from llm_pool.config.type_errors import type_errors
from llm_pool.config.values import decode_secret
from llm_pool.core.errors import ConfigError
from llm_pool.core.messages import StrategyName

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path("folder/llm-pool.toml")

PREDECESSOR = """
[server]
grpc_addr = "0.0.0.0:7070"
http_addr = "0.0.0.0:7071"
enable_grpc = true
enable_http = true

[qos]
max_deadline_ms = 1500
hedge_after_ms = 300
max_prompt_bytes = 16384
max_tokens_default = 256

[ensemble]
default_strategy = "FASTEST"

[ensemble.strategy_by_task]
expand_queries = "FASTEST"
rerank_candidates = "JUDGE"

[breaker]
fail_rate = 0.10
window_size = 50
open_cooldown_ms = 300000

[cache]
enabled = true
driver = "memory"
ttl_seconds = 900
key_fields = ["task", "prompt", "max_tokens"]

[[providers]]
name = "ollama-phi3-mini"
driver = "Ollama"
base_url = "http://127.0.0.1:11434"
model = "phi3:mini"
tasks = ["expand_queries", "recovery_plan"]
weight = 0.6
timeout_ms = 1200

[[providers]]
name = "ollama-llama31-8b"
driver = "ollama"
base_url = "http://127.0.0.1:11434"
model = "llama3.1:8b"
tasks = ["judge", "rerank_candidates"]
weight = 1.0

[judge]
model_provider = "ollama-llama31-8b"
max_tokens = 128
deadline_ms = 700
fallback_strategy = "VOTING"

[tenancy.acme]
api_key = "k-123"
rate_limit_rps = 20
rate_limit_burst = 40
"""


def test_the_predecessors_file_loads_unchanged() -> None:
    """Every section and key of the system before this one means what it meant."""
    config = parse(PREDECESSOR, HERE)

    assert config.server.grpc_addr == "0.0.0.0:7070"
    assert config.qos.max_deadline == 1.5
    assert config.qos.hedge_after == 0.3
    assert config.breaker.open_cooldown == 300.0
    assert config.cache.driver is CacheDriver.MEMORY
    assert config.providers[0].driver is Driver.OLLAMA
    assert config.providers[0].timeout == 1.2
    assert config.judge.providers == ("ollama-llama31-8b",)
    assert config.judge.deadline == 0.7
    assert config.judge.fallback_strategy is StrategyName.VOTING
    assert config.strategy_for("rerank_candidates") is StrategyName.JUDGE
    assert config.tenancy["acme"].api_key.reveal() == "k-123"


def test_the_predecessors_other_values_load_too() -> None:
    """Values that fit its types also fit beside our own defaults: a short window, a cooldown over our longest."""
    text = PREDECESSOR.replace("window_size = 50", "window_size = 3").replace("= 300000", "= 7200000")

    config = parse(text.replace("http_addr", "listen_addr"), HERE)

    assert config.breaker.open_cooldown == 7200.0
    assert config.server.http_addr == "0.0.0.0:7071"


def test_the_built_in_file_has_the_table_of_tasks() -> None:
    """The trio on Ollama, our own trio as a last resort, loopback only."""
    config = load(builtin_config(), env={})

    served = {
        task: [p.model for p in config.providers if task in p.tasks and not p.last_resort]
        for task in config.ensemble.strategy_by_task
    }
    assert served == {
        "expand_queries": ["phi3:mini", "llama3.1:8b"],
        "site_tactics": ["llama3.1:8b", "gemma2:9b"],
        "rerank_candidates": ["llama3.1:8b", "gemma2:9b"],
        "judge": ["llama3.1:8b", "gemma2:9b"],
        "recovery_plan": ["phi3:mini", "llama3.1:8b"],
        "enrich_metadata": ["phi3:mini"],
    }
    assert {task for task in served if config.strategy_for(task) is StrategyName.JUDGE} == {
        "site_tactics",
        "rerank_candidates",
        "judge",
    }
    assert [p.weight for p in config.providers[:3]] == [0.6, 1.0, 0.8]
    pocket = config.providers[3:]
    assert [p.model for p in pocket] == ["pocket-a", "pocket-b", "pocket-c"]
    assert {(p.driver, p.last_resort, frozenset(p.tasks)) for p in pocket} == {
        (Driver.LLAMACPP, True, frozenset({*served, "ask"}))
    }
    assert config.slots_of("pocket") == len(pocket)
    assert config.server.grpc_addr.startswith("127.0.0.1:")
    assert config.server.http_addr.startswith("127.0.0.1:")


MISTAKES = [
    pytest.param(
        "[qos]\nhedge_afer_ms = 300",
        "7: qos.hedge_afer_ms: expected a known key, got the unknown key hedge_afer_ms",
        "did you mean hedge_after_ms?",
        id="unknown key",
    ),
    pytest.param(
        "[idempotency]\nzzz = 1",
        "7: idempotency.zzz: expected a known key, got the unknown key zzz",
        "known here: ttl_seconds",
        id="unknown key like none",
    ),
    pytest.param(
        "[qqos]\n",
        "6: qqos: expected a known key, got the unknown key qqos",
        "did you mean qos?",
        id="unknown table",
    ),
    pytest.param(
        "[qos]\nmax_deadline_ms = 0",
        "7: qos.max_deadline_ms: expected an integer from 1 to 86400000, got 0",
        "llm-pool config explain qos.max_deadline_ms",
        id="out of range",
    ),
    pytest.param(
        "[breaker]\nfail_rate = 0",
        "7: breaker.fail_rate: expected a number above 0 and up to 1, got 0",
        "llm-pool config explain breaker.fail_rate",
        id="open range",
    ),
    pytest.param(
        '[qos]\nhedge_after_ms = "300"',
        '7: qos.hedge_after_ms: expected an integer from 1 to 86400000, got "300"',
        "llm-pool config explain qos.hedge_after_ms",
        id="wrong type",
    ),
    pytest.param(
        "[cache]\nenabled = 1",
        "7: cache.enabled: expected true or false, got 1",
        "llm-pool config explain cache.enabled",
        id="number for a boolean",
    ),
    pytest.param(
        '[ensemble]\ndefault_strategy = "fastets"',
        '7: ensemble.default_strategy: expected one of FASTEST, VOTING, WEIGHTED, CONSENSUS, JUDGE, got "fastets"',
        "did you mean FASTEST?",
        id="unknown word",
    ),
    pytest.param(
        '[ensemble.consensus]\nfallback = [\n "VOTING",\n "jugde",\n]',
        '9: ensemble.consensus.fallback[1]: expected one of FASTEST, VOTING, WEIGHTED, CONSENSUS, JUDGE, got "jugde"',
        "did you mean JUDGE?",
        id="unknown word in a list",
    ),
    pytest.param(
        "weight = -1",
        "6: providers[0].weight: expected a number above 0 and up to 1000, got -1",
        "llm-pool config explain providers.weight",
        id="weight",
    ),
    pytest.param(
        '[server]\nhttp_addr = "7071"',
        '7: server.http_addr: expected an address "host:port", got "7071"',
        "llm-pool config explain server.http_addr",
        id="address",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://u:p@h"',
        '10: providers[1].base_url: expected an address "http://host:port", without a password, got "http://***@h"',
        "llm-pool config explain providers.base_url",
        id="url with a password",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "openai"\nmodel = "m"\nbase_url = "http://h/v1/chat/completions"',
        '10: providers[1].base_url: expected "http://h/v1", got /v1/chat/completions, which is the path of one call',
        "",
        id="url of one call",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "llamacpp"\nmodel = "m"\nheaders = { X-Key = "k" }',
        "10: providers[1].headers: expected driver ollama or openai or http with this key, got driver llamacpp",
        "",
        id="headers of a driver without HTTP",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "openai"\nmodel = "m"\nbase_url = "http://h"\nclient_key = "k.pem"',
        "11: providers[1].client_key: expected client_cert with it, got no client_cert",
        "",
        id="key without certificate",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "openai"\nmodel = "m"\nbase_url = "http://h"\nextra_body = {model=1}',
        "11: providers[1].extra_body.model: expected other fields, got model, which is ours to set",
        "",
        id="extra body with a field of ours",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "openai"\nmodel = "m"\nbase_url = "http://h"\nheaders = { Host = "x" }',
        "11: providers[1].headers.Host: expected other headers, got Host, which is ours to set",
        "",
        id="header of ours",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "openai"\nmodel = "m"\nbase_url = "http://h"\nthink = "much"',
        '11: providers[1].think: expected true, false, "low", "medium" or "high", got "much"',
        "llm-pool config explain providers.think",
        id="another word for thinking",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://h"\nkeep_alive = "a while"',
        '11: providers[1].keep_alive: expected a duration such as "30m" or "1h30m", or seconds, got "a while"',
        "llm-pool config explain providers.keep_alive",
        id="no duration",
    ),
    pytest.param(
        '[[providers]]\nname = "a b"\ndriver = "llamacpp"\nmodel = ""',
        '7: providers[1].name: expected a short name: letters, digits, . _ : and -, got "a b"',
        "llm-pool config explain providers.name",
        id="provider's name",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "vllm"\nmodel = "m"',
        '8: providers[1].driver: expected one of ollama, openai, llamacpp, http, got "vllm"',
        "llm-pool config explain providers.driver",
        id="driver",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "llamacpp"',
        "6: providers[1].model: expected a model's name, got nothing",
        "",
        id="missing key",
    ),
    pytest.param("[tasks]\nask = 1", "7: tasks.ask: expected a table, got 1", "", id="value for a table"),
    pytest.param(
        '[tasks."../x"]',
        '6: tasks."../x": expected a task\'s name: letters, digits, _ and -, got "../x"',
        "",
        id="task's name",
    ),
    pytest.param(
        "[judge]\nmodel_provider = { a = 1 }",
        "7: judge.model_provider: expected a string or a list, each a string, got a table",
        "llm-pool config explain judge.model_provider",
        id="table for a value",
    ),
    pytest.param(
        '[qos]\nhedge = "' + "x" * 80 + '"',
        '7: qos.hedge: expected one of fixed, auto, off, got "' + "x" * 59 + "…",
        "llm-pool config explain qos.hedge",
        id="long value",
    ),
    pytest.param(
        '[[providers]]\nname = "one"\ndriver = "llamacpp"\nmodel = "m"',
        '7: providers[1].name: expected a name of its own, got "one" again',
        "",
        id="two of one name",
    ),
    pytest.param(
        '[[providers]]\nname = "two"\ndriver = "openai"\nmodel = "m"',
        "6: providers[1].base_url: expected the address of the openai server, got nothing",
        "",
        id="no address",
    ),
    pytest.param(
        "threads = 4",
        "6: providers[0].threads: expected driver llamacpp with this key, got driver ollama",
        "",
        id="key of another driver",
    ),
    pytest.param(
        '[judge]\nmodel_provider = ["one", "tow"]',
        '7: judge.model_provider: expected the name of a provider that is on, got "tow"',
        "",
        id="unknown judge",
    ),
    pytest.param(
        '[judge]\nmodel_provider = "onee"',
        '7: judge.model_provider: expected the name of a provider that is on, got "onee"',
        "did you mean one?",
        id="nearly a judge",
    ),
    pytest.param(
        '[judge]\nfallback_strategy = "JUDGE"',
        "7: judge.fallback_strategy: expected FASTEST, VOTING or WEIGHTED, which decide by themselves, got JUDGE",
        "",
        id="judge falls back to itself",
    ),
    pytest.param(
        '[judge]\nfallback_strategy = "consensus"',
        "7: judge.fallback_strategy: expected FASTEST, VOTING or WEIGHTED, which decide by themselves, got CONSENSUS",
        "",
        id="judge falls back to what may fall back to it",
    ),
    pytest.param(
        '[ensemble.consensus]\nfallback = ["CONSENSUS"]',
        "7: ensemble.consensus.fallback[0]: expected a strategy other than CONSENSUS, got CONSENSUS",
        "",
        id="consensus falls back to itself",
    ),
    pytest.param(
        '[ensemble]\ndisabled = ["FASTEST"]',
        "6: ensemble.default_strategy: expected a strategy that is not in ensemble.disabled, got FASTEST",
        "",
        id="default is off",
    ),
    pytest.param(
        '[ensemble.strategy_by_task]\nx = "VOTING"\n[tasks.x]\nstrategy = "JUDGE"',
        "9: tasks.x.strategy: expected VOTING, as in ensemble.strategy_by_task, or only one of the two, got JUDGE",
        "",
        id="two strategies",
    ),
    pytest.param(
        'tasks = ["expand_queries"]\n[ensemble.strategy_by_task]\nexpand_query = "VOTING"',
        '8: ensemble.strategy_by_task.expand_query: expected a served task, got task "expand_query", '
        "which no provider serves",
        "did you mean expand_queries?",
        id="task nobody serves",
    ),
    pytest.param(
        'tasks = ["a"]\n[tasks.zzz]\nttl_seconds = 0',
        '7: tasks.zzz: expected a served task, got task "zzz", which no provider serves',
        "add it to the tasks of a provider",
        id="table of a task nobody serves",
    ),
    pytest.param(
        '[tasks.x]\nproviders = ["won"]',
        '7: tasks.x.providers[0]: expected the name of a provider that is on, got "won"',
        "did you mean one?",
        id="unknown provider of a task",
    ),
    pytest.param(
        '[cache]\nkey_fields = ["task"]',
        '7: cache.key_fields: expected "task" and "prompt" among them, got ["task"]',
        "without them all answers are one",
        id="key without the prompt",
    ),
    pytest.param(
        '[cache]\ndriver = "redis"',
        "6: cache.url: expected the Redis server's address, got nothing",
        'url = "redis://127.0.0.1:6379/0"',
        id="redis nowhere",
    ),
    pytest.param(
        '[groups."http://127.0.0.1:11434"]\nshared = true',
        '7: groups."http://127.0.0.1:11434".shared: '
        "expected false, as there is no Redis to count its slots in, got true",
        'cache.driver = "redis" with cache.url, or security.redis_url',
        id="shared without a Redis",
    ),
    pytest.param(
        "[groups.gpu]\nslots = 1",
        "6: groups.gpu: expected a group with a provider, got no provider in it",
        "the groups are http://127.0.0.1:11434",
        id="empty group",
    ),
    pytest.param(
        '[server]\nlisten_addr = "h:1"\nhttp_addr = "h:2"',
        '7: server.listen_addr: expected the same as http_addr, or only one of the two, got "h:1"',
        "",
        id="two addresses",
    ),
    pytest.param(
        "enabled = false",
        "1: providers: expected at least one [[providers]] table that is on, got only ones that are off",
        "llm-pool config init",
        id="all off",
    ),
    pytest.param(
        'api_key = "${env:NOT_SET}"',
        "6: providers[0].api_key: expected a set environment variable, got ${env:NOT_SET}, which is not set",
        "export NOT_SET=…",
        id="unset variable",
    ),
    pytest.param(
        'api_key = "${file:no.key}"',
        "6: providers[0].api_key: expected a readable file, got ${file:no.key}: no such file or directory",
        "",
        id="missing file",
    ),
    pytest.param(
        'api_key = "${vault:x}"',
        "6: providers[0].api_key: expected ${env:NAME} or ${file:PATH}, got ${vault:x}",
        "",
        id="unknown reference",
    ),
    pytest.param("a = \n", "6: expected TOML, got invalid value at column 5", "", id="syntax"),
    pytest.param(
        "a = 'x",
        '6: expected TOML, got expected "\'" at the end of the file',
        "",
        id="syntax at the end",
    ),
]


@pytest.mark.parametrize(("text", "sentence", "hint"), MISTAKES)
def test_a_mistake_is_told_with_file_line_key_and_way_out(
    read: Callable[..., Config], text: str, sentence: str, hint: str
) -> None:
    """Each kind of mistake has its exact sentence."""
    with pytest.raises(ConfigError) as caught:
        read(text)

    assert str(caught.value) == f"folder/llm-pool.toml:{sentence}"
    assert caught.value.hint == hint


def test_a_file_without_providers_is_a_mistake() -> None:
    """Nobody could answer; there is no line to name."""
    with pytest.raises(ConfigError, match=r"^folder/llm-pool\.toml: providers: expected .* got none$"):
        parse("", HERE)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(read: Callable[..., Config]) -> None:
    """Whoever mends a file sees everything in one go."""
    with pytest.raises(ConfigError) as caught:
        read('[qos]\nhedge_afer_ms = 1\n[breaker]\nfail_rate = "x"\n[qos.max_deadline_ms]\n[bogus]\n')

    errors = [caught.value, *caught.value.also]
    assert [(error.line, error.key) for error in errors] == [
        (7, "qos.hedge_afer_ms"),
        (9, "breaker.fail_rate"),
        (10, "qos.max_deadline_ms"),
        (11, "bogus"),
    ]


def test_references_are_replaced_in_any_string(tmp_path: Path) -> None:
    """``${env:}`` from the environment, ``${file:}`` from beside the file, without its last line break."""
    (tmp_path / "key.txt").write_text("s3cret\n", encoding="utf-8")
    text = """
[[providers]]
name = "one"
driver = "http"
base_url = "${env:HOST}/v1"
model = "m"
[providers.request]
headers = { Authorization = "Bearer ${file:key.txt}" }
body = { parts = ["${env:HOST}", "{prompt}"] }
"""

    config = parse(text, tmp_path / "llm-pool.toml", {"HOST": "http://h:1"})

    provider = config.providers[0]
    assert provider.base_url == "http://h:1/v1"
    assert provider.request is not None
    assert provider.request.headers["Authorization"] == Secret("Bearer s3cret")
    assert provider.request.body == {"parts": ["http://h:1", "{prompt}"]}


def test_secrets_show_in_no_repr_and_no_error(read: Callable[..., Config]) -> None:
    """Not when the file is good, and not when another key, or the secret's own, is wrong."""
    good = read('api_key = "hunter2"\n[tenancy.t]\napi_key = "${env:K}"', K="hunter2")
    bad = (
        'api_key = "hunter2"\nweight = 0',
        "api_key = ['hunter2']",
        'apikey = "hunter2"',
        'api_key = "hunter2\n',
        'request = { headers = "hunter2" }',
        'request = { headers = { a = ["hunter2"] } }',
    )

    assert good.providers[0].api_key == Secret("hunter2")
    assert "hunter2" not in repr(good)
    for text in bad:
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert not any("hunter2" in f"{error!s}{error.hint}" for error in (caught.value, *caught.value.also)), text


def test_words_are_read_in_any_letter_case(read: Callable[..., Config]) -> None:
    """As the predecessor's files spell drivers, and people strategies."""
    config = read(
        '[ensemble]\ndefault_strategy = "voting"\n[qos]\nhedge = "AUTO"\n[cache]\nkey_fields = ["Task", "PROMPT"]'
    )

    assert config.ensemble.default_strategy is StrategyName.VOTING
    assert config.qos.hedge == "auto"
    assert config.cache.key_fields == ("task", "prompt")


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    """Missing, a folder, or not UTF-8."""
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# fine\n# caf\xe9\n")

    with pytest.raises(ConfigError, match="expected a readable file, got no such file or directory"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="expected a readable file, got is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match=r"latin\.toml:2: expected UTF-8, got the byte 0xe9"):
        load(latin)


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    """As Windows editors save, lines counted as before."""
    path = tmp_path / "llm-pool.toml"
    path.write_bytes(b"\xef\xbb\xbf" + PREDECESSOR.replace("\n", "\r\n").encode())
    broken = PREDECESSOR.replace("window_size", "windowsize").replace("\n", "\r\n")

    assert len(load(path).providers) == 2
    with pytest.raises(ConfigError) as caught:
        parse(broken, path)
    assert caught.value.line == PREDECESSOR[: PREDECESSOR.index("window_size")].count("\n") + 1


KEY_LINES = [
    number for number, line in enumerate(builtin_config().read_text().splitlines()) if re.match(r"\w+ = |\[", line)
]


@given(st.sampled_from(KEY_LINES), st.data())
def test_any_misspelt_name_is_told_with_its_line(index: int, data: st.DataObject) -> None:
    """Change one letter of any key or table of the built-in file: the error names it and its line."""
    lines = builtin_config().read_text(encoding="utf-8").splitlines()
    names = list(re.finditer(r"\w+", lines[index].split("=")[0].split("#")[0]))
    name = names[-1]
    free = re.match(r"\[(tasks|groups)\.", lines[index]) or _table_of(lines, index) == "[ensemble.strategy_by_task]"
    at = data.draw(st.integers(name.start(), name.end() - 1))
    lines[index] = lines[index][:at] + "ZQ" + lines[index][at + 1 :]
    broken = re.findall(r"\w*ZQ\w*", lines[index])[0]

    with pytest.raises(ConfigError) as caught:
        parse("\n".join(lines), HERE)

    told = [error for error in (caught.value, *caught.value.also) if broken in error.key]
    assert [error.line for error in told] == [index + 1]
    assert free or told[0].want == "a known key"


def _table_of(lines: list[str], index: int) -> str:
    return next((line.split("#")[0].strip() for line in lines[index - 1 :: -1] if line.startswith("[")), "")


ODD_VALUES = st.sampled_from(
    [0, 1, -1, 0.5, 10**12, "", "x", "FASTEST", "a:1", "http://h", "x\n", True, [], ["x"], [1], {}, {"a": {}}, {"a": 1}]
)
LEAF_KEYS = [
    *(("qos", name) for name in ("hedge", "hedge_after_ms", "budget_ratio", "bogus")),
    *(("ensemble", name) for name in ("disabled", "strategy_by_task", "consensus")),
    *(("judge", name) for name in ("model_provider", "share")),
    *(("cache", name) for name in ("url", "key_fields", "enabled")),
    *(("providers", 0, name) for name in ("name", "tasks", "weight", "api_key", "keep_alive", "request", "timeout_ms")),
    *((name,) for name in ("server", "tasks", "groups", "tenancy", "providers")),
]


@given(st.lists(st.tuples(st.sampled_from(LEAF_KEYS), ODD_VALUES), max_size=4))
def test_the_search_for_mistakes_agrees_with_msgspec(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """It finds something exactly when msgspec refuses the whole."""
    raw: dict[str, Any] = {
        "qos": {},
        "ensemble": {},
        "judge": {},
        "cache": {},
        "providers": [{"name": "one", "driver": "ollama", "model": "m"}],
    }
    for (*path, name), value in sorted(changes, key=lambda change: -len(change[0])):
        table: Any = raw
        for part in path:
            table = table[part]
        table[name] = value

    try:
        msgspec.convert(raw, Sections, dec_hook=decode_secret)
        accepted = True
    except msgspec.ValidationError:
        accepted = False

    assert accepted == (not list(type_errors(raw)))


@pytest.mark.parametrize("text", ["[{}]", "[[{}]]", "{} = 1", "x = {{ {} = 1 }}", "x = 1\n  {} = 1"])
@pytest.mark.parametrize("unit", ["a.", '"a" . ', "'a'.", "a-1\t.\t"])
def test_a_key_of_very_many_parts_is_refused_quickly(text: str, unit: str) -> None:
    """Reading one takes the square of its parts: 32 KB took five seconds."""
    began = time.process_time()

    with pytest.raises(ConfigError, match="a key of more than 32 parts") as caught:
        parse(text.format(unit * 16_000 + "a"), Path("llm-pool.toml"), {})

    assert caught.value.line == text.count("\n") + 1
    assert time.process_time() - began < 0.2


def test_texts_with_many_dots_are_no_keys() -> None:
    told = parse_fails('[qos]\nx = "' + "a." * 100 + 'b"\n# ' + "a." * 100)

    assert "unknown key x" in told


@pytest.mark.parametrize("number", ["0x" + "f" * 4000, "0o" + "7" * 9000, "0b" + "1" * 20_000, "-0x1"])
def test_a_number_of_any_length_is_told(number: str) -> None:
    """In hexadecimal any number can be read, and Python prints none of more than 4,300 digits."""
    assert "configuration" not in parse_fails(f"[breaker]\nopen_cooldown_ms = {number}\n")


def parse_fails(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("llm-pool.toml"), {})
    return str(caught.value)

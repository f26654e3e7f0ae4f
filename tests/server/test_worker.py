"""One of several workers: what it may have, and what the daemon is refused for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError
from llm_pool.server.worker import VARIABLE, Worker, check_sharing, share_of

if TYPE_CHECKING:
    from llm_pool.config import Config

REDIS = '[cache]\ndriver = "redis"\nurl = "redis://127.0.0.1:6379/0"\n'
TENANT = '[tenancy.acme]\napi_key = "0123456789abcdef0123456789abcdef"\n'
SHARED = '[security]\nredis_url = "redis://127.0.0.1:6379/1"\n'


PROVIDER = '[[providers]]\nname = "{0}"\ndriver = "ollama"\nmodel = "a:1b"\nbase_url = "{2}"\ngroup = "{1}"\n'


def config(text: str = "", slots: str = "slots = 4", where: str = "http://127.0.0.1:9") -> Config:
    """A provider on a box, and one that is switched off on a spare one."""
    providers = PROVIDER.format("a", "box", where) + PROVIDER.format("off", "spare", where) + "enabled = false\n"
    return parse(f"{text}[groups.box]\n{slots}\n[groups.spare]\nslots = 1\n{providers}", Path("llm-pool.toml"))


def worker(index: int = 0, count: int = 2) -> Worker:
    return Worker(index, count, 3, "127.0.0.1:7171", "127.0.0.1:7170", 4, "/nowhere")


@given(slots=st.integers(1, 200), count=st.integers(2, 64))
def test_all_shares_together_are_what_the_machine_has(slots: int, count: int) -> None:
    """Never more, and no worker has two more than another; fewer slots than workers are counted in Redis."""
    served = [share_of(config(REDIS, f"slots = {slots}"), worker(index, count)) for index in range(count)]
    shares = [each.slots_of("box") for each in served]
    is_counted = {each.group("box").shared for each in served}

    if slots < count:
        assert (set(shares), is_counted) == ({slots}, {True})
    else:
        assert (sum(shares), is_counted) == (slots, {False})
        assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("slots", "where"),
    [("", "http://127.0.0.1:9"), ("slots = 4", "http://box:9"), ("slots = 4\nshared = true", "http://127.0.0.1:9")],
)
def test_slots_that_others_use_too_are_counted_in_redis(slots: str, where: str) -> None:
    """And those that only the server knows: each worker has all of them, as long as they are free."""
    given_config = config(REDIS, slots, where)

    served = share_of(given_config, worker())

    assert served.group("box").shared is True
    assert served.slots_of("box") == given_config.slots_of("box")


def test_a_worker_serves_at_the_addresses_of_all() -> None:
    """Whatever free port the configuration asked for."""
    served = share_of(config('[server]\nlisten_addr = "127.0.0.1:0"\n' + REDIS), worker())

    assert (served.server.http_addr, served.server.grpc_addr) == ("127.0.0.1:7171", "127.0.0.1:7170")


@pytest.mark.parametrize(
    ("text", "slots", "key"),
    [
        (REDIS, "slots = 4", None),
        ("", "slots = 4", "cache.driver"),
        ("[cache]\nenabled = false\n", "slots = 4", "security.redis_url"),
        ("[cache]\nenabled = false\n" + SHARED, "slots = 4", None),
        (REDIS + TENANT, "slots = 4", "security.redis_url"),
        (REDIS + TENANT + SHARED, "slots = 4", None),
        (REDIS, "slots = 1", None),
        (REDIS, "slots = 1\nshared = false", 'groups."box".shared'),
        (REDIS, "shared = false", 'groups."box".shared'),
    ],
)
def test_what_must_be_one_for_all_is_named(text: str, slots: str, key: str | None) -> None:
    """By the key to set."""
    given_config = config(text, slots)
    if key is None:
        check_sharing(given_config, 2)
        return

    with pytest.raises(ConfigError) as refused:
        check_sharing(given_config, 2)

    assert refused.value.key == key
    assert "--workers 1" in refused.value.hint


def test_who_a_process_is_is_heard_once() -> None:
    """What it starts itself is no worker."""
    environment = {VARIABLE: worker(1).as_text()}

    assert Worker.of_this_process(environment) == worker(1)
    assert Worker.of_this_process(environment) is None

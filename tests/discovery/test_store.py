"""A finding is kept for a minute, privately, whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool.config import Driver
from llm_pool.discovery.models import FoundModel
from llm_pool.discovery.servers import servers_to_ask
from llm_pool.discovery.store import MAX_BYTES, TTL, load, save

if TYPE_CHECKING:
    from pathlib import Path

HERE = servers_to_ask({})
MODELS = (FoundModel(name="qwen3:4b", server="Ollama", driver=Driver.OLLAMA, url="http://127.0.0.1:11434", size=1),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "found.json"


def test_it_is_there_for_a_minute(path: Path) -> None:
    save(path, HERE, MODELS, now=1000.0)

    assert load(path, HERE, 1000.0 + TTL - 1) == MODELS
    assert load(path, HERE, 1000.0 + TTL) is None
    assert load(path, HERE, 999.0) is None


def test_another_ollama_host_is_another_question(path: Path) -> None:
    save(path, HERE, MODELS, now=1000.0)

    assert load(path, servers_to_ask({"OLLAMA_HOST": "gpu-box"}), 1000.0) is None


def test_only_its_owner_may_read_it_and_nothing_is_left_beside_it(path: Path) -> None:
    save(path, HERE, MODELS, now=1000.0)
    save(path, HERE, MODELS, now=1001.0)

    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff" * 10, b" " * (MAX_BYTES + 9)])
def test_a_damaged_file_is_no_finding(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    assert load(path, HERE, 1000.0) is None


def test_a_model_at_an_address_nobody_asked_is_no_finding(path: Path) -> None:
    elsewhere = FoundModel(name="m", server="x", driver=Driver.OPENAI, url="http://10.0.0.1:1")
    save(path, HERE, (elsewhere,), now=1000.0)

    assert load(path, HERE, 1000.0) is None


def test_more_than_fits_is_not_kept(path: Path) -> None:
    long = FoundModel(name="m" * MAX_BYTES, server="x", driver=Driver.OPENAI, url=HERE[0].url)
    save(path, HERE, (long,), now=1000.0)

    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "found.json"

    save(path, HERE, MODELS, now=1000.0)

    assert load(path, HERE, 1000.0) is None

"""The trust file: what is written is read, together with what others wrote."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from llm_pool.trust.model import PanelAnswer, Trust
from llm_pool.trust.store import TrustStore

if TYPE_CHECKING:
    from pathlib import Path


def win(trust: Trust) -> None:
    trust.observe("sum", PanelAnswer("phi", 0), "feedback", right=True)


def wins(trust: Trust) -> float:
    return sum(standing.wins for standing in trust.trust_records() if standing.expert == "provider:phi")


def test_nothing_kept_is_nothing_learned(tmp_path: Path) -> None:
    """No file, no error, and reading makes none."""
    store = TrustStore(tmp_path / "state" / "trust.json")

    assert store.load().trust_records() == []
    assert not store.path.exists()


def test_two_stores_on_one_file_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Each change is made on what the file holds at that moment."""
    stores = [TrustStore(tmp_path / "trust.json") for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: stores[index % 4].change(win), range(40)))

    assert wins(stores[0].load()) == pytest.approx(40, rel=0.05)


def test_a_failed_change_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """And nothing beside it but the lock."""
    store = TrustStore(tmp_path / "trust.json")
    store.change(win)
    before = store.path.read_bytes()

    def fail(trust: Trust) -> None:
        win(trust)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.change(fail)

    assert store.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trust.json", "trust.lock"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one takes its place only when it is whole."""
    store = TrustStore(tmp_path / "trust.json")
    store.change(win)
    before = store.path.read_bytes()
    monkeypatch.setattr("llm_pool.trust.store.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))

    with pytest.raises(OSError, match="disk full"):
        store.change(win)

    assert store.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trust.json", "trust.lock"]


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Learning starts anew, what was there can be looked at, and the log says where."""
    store = TrustStore(tmp_path / "trust.json")
    store.path.write_bytes(b"{half a fi")

    trust = store.change(win)

    assert wins(trust) == 1.0
    assert f"{store.path} was damaged and is set aside as trust.damaged: the pool learns anew" in caplog.messages
    assert (tmp_path / "trust.damaged").read_bytes() == b"{half a fi"


@pytest.mark.parametrize("data", [b"\xff{[", b"", b"[" * 100_000, b'{"a":{"b":{"c":' + b"[" * 100_000])
def test_whatever_the_file_holds_the_pool_starts(tmp_path: Path, data: bytes) -> None:
    """Garbage, nothing, and nesting without end."""
    store = TrustStore(tmp_path / "trust.json")
    store.path.write_bytes(data)

    assert store.load().trust_records() == []


def test_a_file_that_cannot_be_read_is_told_and_not_overwritten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder in its place: the pool starts without what was learned, and nothing is kept over it."""
    store = TrustStore(tmp_path / "trust.json")
    store.path.mkdir()

    assert store.load().trust_records() == []
    assert "starts without it" in caplog.text
    with pytest.raises(OSError, match=r"trust\.json"):
        store.change(win)
    assert store.path.is_dir()

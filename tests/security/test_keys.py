"""The file of keys: who may read it, and what becomes of its slots."""

from __future__ import annotations

import concurrent.futures
import stat
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import ConfigError, InvalidRequest
from llm_pool.security.keys import PREFIX, KeyFile, Kind, digest_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "deep" / "keys.json")


def test_a_key_is_kept_for_its_owner_alone(file: KeyFile) -> None:
    """S20: mode 0600, in a folder of mode 0700 where it had to be made."""
    file.create("acme", Kind.HMAC, wall=1.0)

    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_that_others_may_read_is_not_believed(file: KeyFile, mode: int) -> None:
    """The error says what to type."""
    file.create("acme", Kind.HMAC, wall=1.0)
    file.path.chmod(mode)

    with pytest.raises(ConfigError, match="mode 0600") as caught:
        file.load()
    assert caught.value.hint == f"chmod 600 {file.path}"


def test_secrets_are_long_random_and_easy_to_find_for_scanners(file: KeyFile) -> None:
    """256 bits behind a prefix; those of bearer keys are in the file as digests only."""
    _, signing = file.create("acme", Kind.HMAC, wall=1.0)
    _, carried = file.create("acme", Kind.BEARER, wall=1.0)

    text = file.path.read_text()
    assert signing.startswith(PREFIX)
    assert len(signing) >= len(PREFIX) + 43
    assert signing in text
    assert carried not in text
    assert digest_of(carried) in text


def test_a_key_has_two_secrets_at_most(file: KeyFile) -> None:
    """S4: create, rotate, retire, rotate: the slots take turns."""
    key, first = file.create("acme", Kind.HMAC, wall=1.0)

    slot, second = file.rotate(key.id, until=99.0)
    with pytest.raises(InvalidRequest, match="two secrets"):
        file.rotate(key.id)
    file.retire(key.id, "a")
    again, third = file.rotate(key.id)

    assert (slot, again) == ("b", "a")
    assert len({first, second, third}) == 3
    slots = file.load()[key.id].slots
    assert {name: (its.secret, its.not_after) for name, its in slots.items()} == {
        "a": (third, None),
        "b": (second, 99.0),
    }


def test_the_last_secret_goes_with_its_key(file: KeyFile) -> None:
    """A key that nobody can use is no key."""
    key, _ = file.create("acme", Kind.HMAC, wall=1.0)

    for slot in ("a", "b"):
        with pytest.raises(InvalidRequest):
            file.retire(key.id, slot)
    file.retire(key.id)

    assert file.load() == {}
    with pytest.raises(InvalidRequest, match="no key"):
        file.rotate(key.id)


@pytest.mark.parametrize("damage", ["", "{", '{"keys": [{"secret": "lpsk_x"}]}', '{"keys": [], "other": 1}', "\udcff"])
def test_a_damaged_file_says_nothing_of_what_is_in_it(file: KeyFile, damage: str) -> None:
    """And is left as it is."""
    file.create("acme", Kind.HMAC, wall=1.0)
    file.path.write_bytes(damage.encode("utf-8", "surrogateescape"))

    with pytest.raises(ConfigError, match="damaged") as caught:
        file.create("acme", Kind.HMAC, wall=1.0)

    assert "lpsk_" not in str(caught.value)
    assert file.path.read_bytes() == damage.encode("utf-8", "surrogateescape")


def test_two_who_write_at_once_lose_nothing(file: KeyFile) -> None:
    """Each change is made on what the file holds at that moment."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: file.create(f"t{number}", Kind.HMAC, wall=1.0)[0].id, range(16)))

    assert set(file.load()) == set(made)


def test_the_id_is_readable_whatever_the_tenant_is_called(file: KeyFile) -> None:
    """It goes into a header."""
    key, _ = file.create("Bäckerei Müller & Söhne", Kind.HMAC, wall=1.0)

    assert key.id.isascii()
    assert key.id.startswith("B-ckerei-M-ller")
    assert key.tenant == "Bäckerei Müller & Söhne"

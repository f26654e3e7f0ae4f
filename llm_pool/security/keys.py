"""
The file of keys that ``llm-pool keys`` writes and the daemon reads: mode 0600, replaced and never written into.

A key has two slots, ``a`` and ``b``. Rotation fills the idle one, clients change over while both are good, and
retiring empties the old one. Secrets for signatures are there as they are, as HMAC needs them; of bearer keys there
is the SHA-256 only, which is enough for 256 random bits.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import sys
import tempfile
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import ConfigError, InvalidRequest
from llm_pool.core.files import open_regular, whole
from llm_pool.security.hmac import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "lpsk_"
"""Begins every secret, so that scanners of repositories find one that got lost."""
_MODE = 0o600


class Kind(StrEnum):
    """How a key is used."""

    HMAC = "hmac"
    BEARER = "bearer"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """
    One key of a tenant.

    Attributes:
        slots: by name, ``a`` and ``b``; an empty slot is absent.
        created: Unix seconds.
    """

    id: str
    tenant: str
    kind: Kind
    slots: dict[str, Slot]
    created: float

    @property
    def idle(self) -> str | None:
        """The name of a slot without a secret."""
        return next((name for name in ("a", "b") if name not in self.slots), None)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[Key]
    version: int = 1


class KeyFile:
    """
    The file.

    Args:
        path: it need not exist: then there are no keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Key]:
        """
        The keys by their ids.

        Raises:
            ConfigError: the file is damaged, or others than its owner may read it.
        """
        try:
            with open_regular(self.path) as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                data = whole(file)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable((error.strerror or "unreadable").lower(), "a readable file") from None
        if os.name == "posix" and mode & 0o077:
            raise self._unusable(f"mode {mode:04o}", f"mode {_MODE:04o}", f"chmod 600 {self.path}")
        try:
            return {key.id: key for key in msgspec.json.decode(data, type=_File).keys}
        except (msgspec.DecodeError, UnicodeDecodeError):  # its message could quote a secret
            raise self._unusable("a damaged file", "what llm-pool keys wrote") from None

    def create(self, tenant: str, kind: Kind, *, wall: float, until: float | None = None) -> tuple[Key, str]:
        """A new key of *tenant* and its secret, which is told this once; raises ConfigError and OSError."""
        secret, slot = _new_secret(kind, until)
        key = Key(id=_new_id(tenant), tenant=tenant, kind=kind, slots={"a": slot}, created=wall)
        with self._changing() as keys:
            keys[key.id] = key
        return key, secret

    def rotate(self, key_id: str, *, until: float | None = None) -> tuple[str, str]:
        """
        Fill the idle slot of a key; the other stays good.

        Returns:
            The slot's name, and its secret, which is told this once.

        Raises:
            InvalidRequest: there is no such key, or it has no idle slot.
            ConfigError, OSError: the file cannot be used.
        """
        with self._changing() as keys:
            key = _known(keys, key_id)
            idle = key.idle
            if idle is None:
                raise InvalidRequest(
                    "KEY", f"{key_id} has two secrets", hint=f"llm-pool keys retire {key_id} a  takes one away"
                )
            secret, slot = _new_secret(key.kind, until)
            keys[key_id] = msgspec.structs.replace(key, slots={**key.slots, idle: slot})
        return idle, secret

    def retire(self, key_id: str, slot: str | None = None) -> None:
        """
        Take away a key, or one *slot* of it.

        Raises:
            InvalidRequest: there is no such key or slot, or it is the last one.
            ConfigError, OSError: the file cannot be used.
        """
        with self._changing() as keys:
            key = _known(keys, key_id)
            if slot is None:
                del keys[key_id]
            elif slot not in key.slots:
                raise InvalidRequest("SLOT", f"{key_id} has {' and '.join(sorted(key.slots))}, not '{slot}'")
            elif len(key.slots) == 1:
                raise InvalidRequest(
                    "SLOT", f"it is the last of {key_id}", hint=f"llm-pool keys retire {key_id}  takes the key away"
                )
            else:
                left = {name: value for name, value in key.slots.items() if name != slot}
                keys[key_id] = msgspec.structs.replace(key, slots=left)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Key]]:
        """The keys, kept as the block leaves them; two who change them wait for each other."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.path.with_name(f".{self.path.name}.lock").open("wb") as lock:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(lock, fcntl.LOCK_EX)
            keys = self.load()
            yield keys
            self._save(keys)

    def _save(self, keys: dict[str, Key]) -> None:
        data = msgspec.json.format(msgspec.json.encode(_File(list(keys.values()))), indent=1)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # made with mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)  # noqa: PTH105  # mkstemp names a string
        except BaseException:
            os.unlink(name)  # noqa: PTH108  # likewise
            raise

    def _unusable(self, got: str, want: str, hint: str = "") -> ConfigError:
        return ConfigError(path=self.path, key="", got=got, want=want, hint=hint)


def digest_of(secret: str) -> str:
    """What is kept of a bearer key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _new_secret(kind: Kind, until: float | None) -> tuple[str, Slot]:
    secret = PREFIX + secrets.token_urlsafe(32)
    kept = secret if kind is Kind.HMAC else digest_of(secret)
    return secret, Slot(secret=kept, not_after=until)


def _new_id(tenant: str) -> str:
    readable = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "-" for char in tenant)
    return f"{readable[:40]}-{secrets.token_hex(4)}"


def _known(keys: dict[str, Key], key_id: str) -> Key:
    if key_id not in keys:
        raise InvalidRequest("KEY", f"there is no key {key_id}", hint="llm-pool keys list  names them")
    return keys[key_id]

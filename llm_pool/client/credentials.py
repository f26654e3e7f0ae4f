"""Who a client is: a key that signs, or a token that is sent; from the environment or a file, never from argv."""

from __future__ import annotations

import os
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from llm_pool.core.errors import ConfigError
from llm_pool.security.hmac import sign

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "LLM_POOL_CREDENTIALS"
"""Names a TOML file with some of the fields of ``_Settings``; the other variables are these fields one by one."""


class HmacKey(msgspec.Struct, frozen=True):
    """
    A key that signs each request, from ``llm-pool keys create``.

    Attributes:
        audience: the server's ``security.audience``.
    """

    key: str
    secret: str
    audience: str = "llm-pool"

    def headers(self, method: str, path: str, sent: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers that prove a request."""
        return sign(
            self.audience, self.key, self.secret, method=method, path=path, wall=time.time(), headers=sent, body=body
        )

    def __repr__(self) -> str:
        return f"<HmacKey {self.key}>"


class Token(msgspec.Struct, frozen=True):
    """A bearer key or a JSON Web Token, sent as it is."""

    token: str

    def headers(self, _method: str, _path: str, _sent: Mapping[str, str], _body: bytes) -> dict[str, str]:
        """The header that proves a request."""
        return {"authorization": f"Bearer {self.token}"}

    def __repr__(self) -> str:
        return "<Token>"


Credentials: TypeAlias = "HmacKey | Token"


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """
    PEM files for a server of one's own.

    Attributes:
        ca: authorities to believe; None: those of the system.
        cert: this client's certificate, where the server wants one; *key* is its key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file or the environment says."""

    key: str = ""
    secret: str = ""
    audience: str = "llm-pool"
    token: str = ""
    ca: str = ""
    cert: str = ""
    cert_key: str = ""


VARIABLES = {
    "key": "LLM_POOL_API_KEY",
    "secret": "LLM_POOL_API_SECRET",
    "audience": "LLM_POOL_AUDIENCE",
    "token": "LLM_POOL_TOKEN",
    "ca": "LLM_POOL_CA",
    "cert": "LLM_POOL_CERT",
    "cert_key": "LLM_POOL_CERT_KEY",
}
"""The environment variable of each field."""


def load_credentials(environ: Mapping[str, str] = os.environ) -> tuple[Credentials | None, Tls]:
    """
    What the environment says of us, and the file it names; variables count before the file.

    Raises:
        ConfigError: the file cannot be used, or half of a pair is missing.
    """
    values = {
        **_file(environ.get(FILE, "")),
        **{f: environ[name] for f, name in VARIABLES.items() if environ.get(name)},
    }
    try:
        fields = msgspec.convert(values, _Settings)
    except msgspec.ValidationError as error:
        raise _type_error(environ[FILE], str(error), f"some of {', '.join(VARIABLES)}") from None
    if bool(fields.key) != bool(fields.secret):
        raise _type_error(None, "one without the other", "both LLM_POOL_API_KEY and LLM_POOL_API_SECRET")
    tls = Tls(ca=_path(fields.ca), cert=_path(fields.cert), key=_path(fields.cert_key))
    if fields.key:
        return HmacKey(fields.key, fields.secret, fields.audience), tls
    return (Token(fields.token) if fields.token else None), tls


def _file(name: str) -> dict[str, object]:
    if not name:
        return {}
    try:
        return tomllib.loads(Path(name).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _type_error(name, str(error), "a TOML file that can be read") from None


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def _type_error(name: str | None, got: str, want: str) -> ConfigError:
    return ConfigError(path=Path(name) if name else None, key="credentials", got=got, want=want)

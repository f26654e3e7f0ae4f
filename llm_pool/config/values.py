"""The kinds of value a key may have that TOML itself does not know."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Self


class Secret:
    """A text that shows itself only when asked to: not in ``repr``, not in errors, not in ``config show``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def decode_secret(wanted: type[Any], value: Any) -> Any:
    """The hook for msgspec: a Secret is written as a string."""
    assert wanted is Secret
    if not isinstance(value, str):
        raise TypeError
    return Secret(value)


class CaseInsensitiveEnum(StrEnum):
    """One of a few words, read in any letter case."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        return next((word for word in cls if str(value).lower() == word.value.lower()), None)


POOL = "pool"
"""The model that is the whole pool; ``pool/voting`` and ``pool/task/NAME`` are parts of what it can do."""


class Driver(CaseInsensitiveEnum):
    """The kinds of backend."""

    OLLAMA = "ollama"
    OPENAI = "openai"
    LLAMACPP = "llamacpp"
    HTTP = "http"


class Hedge(CaseInsensitiveEnum):
    """When a second attempt is sent because the first is late."""

    FIXED = "fixed"
    AUTO = "auto"
    OFF = "off"


class CacheDriver(CaseInsensitiveEnum):
    """Where answers are kept."""

    MEMORY = "memory"
    REDIS = "redis"


class KeyField(CaseInsensitiveEnum):
    """The parts of a request that may tell two cached answers apart."""

    TASK = "task"
    PROMPT = "prompt"
    MAX_TOKENS = "max_tokens"
    TENANT_ID = "tenant_id"
    PROJECT_ID = "project_id"
    META = "meta"


class LogFormat(CaseInsensitiveEnum):
    """What log lines look like."""

    AUTO = "auto"
    JSON = "json"
    PRETTY = "pretty"


class StreamFormat(CaseInsensitiveEnum):
    """How a templated HTTP backend sends its answer."""

    JSON = "json"
    LINES = "lines"
    EVENTS = "events"


class Algorithm(CaseInsensitiveEnum):
    """How a token may be signed: with a private key, never with a shared secret."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"


class Scope(CaseInsensitiveEnum):
    """
    What a client may do.

    ``infer`` asks questions, and sees the tasks, the health and the past of its own tenant; ``observe`` reads
    metrics and what all tenants did; ``operate`` changes something for others, and covers every route that nobody
    made a decision about.
    """

    INFER = "infer"
    OBSERVE = "observe"
    OPERATE = "operate"

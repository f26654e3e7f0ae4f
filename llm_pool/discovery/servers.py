"""
Where models may be on this machine: the default ports of the servers people run, and ``OLLAMA_HOST``.

Nothing else is ever asked, and nothing beyond loopback but what ``OLLAMA_HOST`` names.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from llm_pool.config import Driver
from llm_pool.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

VARIABLE: Final = "OLLAMA_HOST"
OLLAMA_PORT: Final = 11434
LOOPBACK: Final = "127.0.0.1"
_AS_OLLAMA_TAKES_IT: Final = {"ollama.com": "https://ollama.com"}
_SCHEME_PORTS: Final = {"http": 80, "https": 443}


class DefaultPort(msgspec.Struct, frozen=True):
    """The port that a server of the kind *label* listens at unless it is told otherwise, and what it speaks there."""

    label: str
    driver: Driver
    port: int


DEFAULT_PORTS: Final = (
    DefaultPort("Ollama", Driver.OLLAMA, OLLAMA_PORT),
    DefaultPort("LM Studio", Driver.OPENAI, 1234),
    DefaultPort("llama.cpp", Driver.OPENAI, 8080),  # llama-server and llama-swap
    DefaultPort("vLLM", Driver.OPENAI, 8000),
    DefaultPort("SGLang", Driver.OPENAI, 30000),
    DefaultPort("Jan", Driver.OPENAI, 1337),
)
"""Source: the documentation of each server, 2026-11."""


class ServerAddress(msgspec.Struct, frozen=True):
    """A server to ask; *url* is what a provider's ``base_url`` would be."""

    label: str
    driver: Driver
    url: str

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "")


def servers_to_ask(env: Mapping[str, str], ports: Sequence[DefaultPort] = DEFAULT_PORTS) -> tuple[ServerAddress, ...]:
    """
    The servers of *ports* on loopback, with Ollama where ``OLLAMA_HOST`` says; each address once.

    Raises:
        ConfigError: ``OLLAMA_HOST`` is no address.
    """
    return tuple({server.url: server for server in reversed([*_servers(env, ports)])}.values())[::-1]


def _servers(env: Mapping[str, str], ports: Sequence[DefaultPort]) -> Iterator[ServerAddress]:
    named = env.get(VARIABLE, "").strip().strip("\"'").strip()
    if named:
        yield ServerAddress("Ollama", Driver.OLLAMA, ollama_address(named))
    for default in ports:
        if not (named and default.driver is Driver.OLLAMA):
            yield ServerAddress(default.label, default.driver, f"http://{LOOPBACK}:{default.port}")


def ollama_address(said: str) -> str:
    """
    The address that *said*, a value of ``OLLAMA_HOST``, stands for: ``host``, ``host:port``, either with a scheme.

    A server that listens at every address, ``0.0.0.0`` or ``::``, is asked at loopback, and so is a port by itself. A
    port that is none is Ollama's own, as Ollama takes it.

    Raises:
        ConfigError: it is no address, or has a user and a password in it.
    Source: Ollama, envconfig/config.go, ``Host``.
    """
    scheme, marked, rest = _AS_OLLAMA_TAKES_IT.get(said, said).partition("://")
    if not marked:
        scheme, rest = "http", said
    scheme = scheme.lower()
    authority, _, path = rest.partition("/")
    if scheme not in _SCHEME_PORTS:
        raise _unusable(f"the scheme {scheme[:20]!r}")
    if "@" in rest:
        raise _unusable("one with a user in it")
    if any(char.isspace() or char in "\\?#" or not char.isprintable() for char in rest):
        raise _unusable("a character that no address has")
    default = _SCHEME_PORTS[scheme] if marked else OLLAMA_PORT
    host, port = _host_and_port(authority, default)
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}{'/' + path if path else ''}".rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether *host* is this machine, told by its name alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    host, port = authority, ""
    if authority.startswith("["):
        host, _, rest = authority[1:].partition("]")
        port = rest.removeprefix(":")
    elif authority.count(":") == 1:
        host, _, port = authority.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if ":" in host or authority.startswith("["):
            raise _unusable("no host") from None
        if host.isascii() and host.isdigit() and not port:
            return LOOPBACK, _port(host, default)
        return host.lower() or LOOPBACK, _port(port, default)
    return LOOPBACK if address.is_unspecified else str(address), _port(port, default)


def _port(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 else default


def _unusable(got: str) -> ConfigError:
    return ConfigError(
        path=None, key=VARIABLE, got=got, want='an address such as "127.0.0.1:11434"', hint=f"unset {VARIABLE}"
    )

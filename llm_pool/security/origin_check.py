"""
What keeps web pages away from a daemon that asks nobody who they are.

A page in the browser of whoever runs the daemon comes from loopback too. It can send requests there from its own site
(cross-site request forgery), or have its own name lead there (DNS rebinding) and read the answers as well. Browsers
say in ``Origin`` and ``Sec-Fetch-Site`` whose page it is, and in ``Host`` by which name it came.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from llm_pool.core.errors import PermissionDenied
from llm_pool.security.tenants import requires_authentication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.config import Config

    Headers = Sequence[tuple[bytes, bytes]]

REMEMBERED = 256
_SINGLE = frozenset({b"host", b"origin", b"sec-fetch-site"})
HINT = "a proxy's name goes into server.hosts, the origin of a page or an app of your own into server.origins"


class OriginCheck:
    """
    The rule of one configuration.

    A browser, a program, a proxy says the same of itself with each request: verdicts are remembered by what was said,
    ``REMEMBERED`` of them.

    Args:
        config: whose names and origins count.
    """

    def __init__(self, config: Config) -> None:
        self._config, self._asks_nobody = config, not requires_authentication(config)
        self._refusals: dict[_Said, str] = {}

    def check(self, headers: Headers) -> None:
        """
        Raise PermissionDenied where a web page of somebody else's may have sent these *headers*.

        Over TLS any ``Host`` is good: a name that leads here for deception has no certificate that fits it.
        """
        said = _said(headers)
        refusal = self._refusals.get(said)
        if refusal is None:
            refusal = _refusal(said, self._config)
            if len(self._refusals) >= REMEMBERED:
                self._refusals.clear()
            self._refusals[said] = refusal
        if refusal:
            raise PermissionDenied(refusal, hint=HINT)

    def reading_origin(self, headers: Headers) -> bytes | None:
        """
        The origin in *headers* of a web page that may read the answer by CORS; None where none may.

        Pages of this machine, of ``server.hosts`` and of ``server.origins`` may. Where nobody has to prove who they
        are, the whole of ``check`` must let the request in: by a name that leads here for deception nobody reads.
        """
        sent = [value for name, value in headers if name == b"origin"]
        if len(sent) != 1 or not _may_read(sent[0], self._config):
            return None
        if self._asks_nobody:
            try:
                self.check(headers)
            except PermissionDenied:
                return None
        return sent[0]


class _Said(NamedTuple):
    """What a request says of whence it comes; *twice*: it says one of it twice."""

    host: bytes
    origin: bytes | None
    site: bytes | None
    twice: bool


def _said(headers: Headers) -> _Said:
    found: dict[bytes, bytes] = {}
    twice = False
    for name, value in headers:
        if name in _SINGLE:
            twice = twice or name in found
            found[name] = value
    return _Said(found.get(b"host", b""), found.get(b"origin"), found.get(b"sec-fetch-site"), twice)


def _refusal(said: _Said, config: Config) -> str:
    """Why a request that says so is refused; empty where it is not."""
    if said.twice:
        return "a header that says whose page this is came twice"
    if config.server.tls_cert is None and not _is_ours(said.host, config):
        return "the Host is no name of this machine's own"
    if said.origin is None:
        is_foreign = said.site == b"cross-site"
    else:
        page = said.origin.partition(b"://")[2]
        is_foreign = page != said.host and not _may_read(said.origin, config)
    return "web pages of other sites may not ask here" if is_foreign else ""


def _may_read(origin: bytes, config: Config) -> bool:
    """Whether a page of *origin*, ``scheme://host`` with or without port, may ask and read."""
    scheme, _, page = origin.partition(b"://")
    named = origin.decode("latin-1").lower()
    listed = {named, f"{scheme.decode('latin-1').lower()}://*"} & set(config.server.origins)
    return bool(listed) or _is_ours(page, config)


def _is_ours(authority: bytes, config: Config) -> bool:
    """Whether *authority*, ``host`` or ``host:port``, is loopback or a name that the operator gave."""
    bare = authority.decode("latin-1").lower()
    name = bare[1:].partition("]")[0] if bare.startswith("[") else bare.partition(":")[0]
    if name == "localhost" or name in config.server.hosts:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

"""
What keeps web pages away from a daemon that asks nobody who they are.

A page in the browser of whoever runs the daemon comes from loopback too. It can send requests there from its own site
(cross-site request forgery), or have its own name lead there (DNS rebinding) and read the answers as well. Browsers
say in ``Origin`` and ``Sec-Fetch-Site`` whose page it is, and in ``Host`` by which name it came.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from llm_pool.core.errors import PermissionDenied
from llm_pool.security.tenants import requires_authentication

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.config import Config

_SINGLE = (b"host", b"origin", b"sec-fetch-site")
HINT = "a proxy's name goes into server.hosts, the origin of a page or an app of your own into server.origins"


def check_origin(headers: Sequence[tuple[bytes, bytes]], config: Config) -> None:
    """
    Raise PermissionDenied where a web page of somebody else's may have sent these *headers*.

    Over TLS any ``Host`` is good: a name that leads here for deception has no certificate that fits it.
    """
    found = dict(headers)
    if any(sum(name == one for one, _ in headers) > 1 for name in _SINGLE):
        raise PermissionDenied("a header that says whose page this is came twice")
    host, origin = found.get(b"host", b""), found.get(b"origin")
    if config.server.tls_cert is None and not _is_ours(host, config):
        raise PermissionDenied("the Host is no name of this machine's own", hint=HINT)
    if origin is None:
        is_foreign = found.get(b"sec-fetch-site") == b"cross-site"
    else:
        page = origin.partition(b"://")[2]
        is_foreign = page != host and not _may_read(origin, config)
    if is_foreign:
        raise PermissionDenied("web pages of other sites may not ask here", hint=HINT)


def reading_origin(headers: Sequence[tuple[bytes, bytes]], config: Config) -> bytes | None:
    """
    The origin in *headers* of a web page that may read the answer by CORS; None where none may.

    Pages of this machine, of ``server.hosts`` and of ``server.origins`` may. Where nobody has to prove who they are,
    the whole of ``check_origin`` must let the request in: by a name that leads here for deception nobody reads.
    """
    sent = [value for name, value in headers if name == b"origin"]
    if len(sent) != 1 or not _may_read(sent[0], config):
        return None
    if not requires_authentication(config):
        try:
            check_origin(headers, config)
        except PermissionDenied:
            return None
    return sent[0]


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

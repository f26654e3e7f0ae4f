"""Beyond loopback only with authentication: it is the sockets that are looked at, at the start and at every reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError
from llm_pool.server.components import check_listeners

if TYPE_CHECKING:
    from pathlib import Path

PROVIDER = '[[providers]]\nname = "a"\ndriver = "ollama"\nmodel = "m"\nbase_url = "http://127.0.0.1:9"\n'
TENANT = '[tenancy.acme]\napi_key = "lpsk_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"\n'


@pytest.mark.parametrize("url", ["http://0.0.0.0:7071", "grpc://[::]:7070", "https://192.0.2.1:7071"])
def test_tenants_cannot_be_removed_while_others_can_connect(url: str, tmp_path: Path) -> None:
    """Even if the new file would listen on loopback: the socket that is open was bound by the old one."""
    config = parse('[server]\nhttp_addr = "127.0.0.1:7071"\n' + PROVIDER, tmp_path / "c.toml")

    with pytest.raises(ConfigError, match="nobody to authenticate"):
        check_listeners(config, [url], has_client_ca=False)


def test_on_loopback_or_with_authentication_anything_goes(tmp_path: Path) -> None:
    plain = parse(PROVIDER, tmp_path / "c.toml")
    check_listeners(plain, ["http://127.0.0.1:7071", "grpc://[::1]:7070"], has_client_ca=False)
    check_listeners(plain, ["https://0.0.0.0:7071"], has_client_ca=True)
    check_listeners(parse(TENANT + PROVIDER, tmp_path / "c.toml"), ["http://0.0.0.0:7071"], has_client_ca=False)

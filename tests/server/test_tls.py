"""S18: TLS on HTTP and gRPC, certificates of clients where they are wanted, and renewed files without a restart."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import msgspec
import pytest

from llm_pool.config import parse
from llm_pool.core.errors import ConfigError
from llm_pool.security.tls import context_for, reload_certificates, tls_files
from llm_pool.server.components import build_components
from llm_pool.server.sockets import check_addresses
from tests.security.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

PLAIN = '[server]\nhttp_addr = "127.0.0.1:0"\ngrpc_addr = "127.0.0.1:0"\n'
TLS = PLAIN + 'tls_cert = "server.cert.pem"\ntls_key = "server.key.pem"\n'
MUTUAL = TLS + 'client_ca = "clients.pem"\n'


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path, "ours")
    authority.issue("server")
    return authority


@pytest.fixture
def clients(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "clients")


def client(ca: Path, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


async def status(url: str, context: ssl.SSLContext | None) -> int:
    """Of ``GET /livez``; 0 where the connection is refused."""
    components = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(components.hostname, components.port, ssl=context)
    except (ssl.SSLError, ConnectionError):
        return 0
    try:
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = await reader.read()
        return int(said.split()[1]) if said else 0
    except (ssl.SSLError, ConnectionError):
        return 0
    finally:
        writer.close()


async def test_https_and_nothing_less(daemons: Any, config_for: Callable[..., Config], ours: Authority) -> None:
    """TLS 1.2 or later; plain text on that port is no HTTP."""
    old = client(ours.path)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE+AESGCM")
    context = context_for(tls_files(config_for("http://127.0.0.1:9", TLS)))  # type: ignore[arg-type]  # it is there

    components = await asyncio.to_thread(build_components, config_for("http://127.0.0.1:9", TLS))
    async with daemons(TLS, components=msgspec.structs.replace(components, servers=())) as daemon:
        assert daemon.url.startswith("https://")
        assert await status(daemon.url, client(ours.path)) == 200
        assert await status(daemon.url, old) == 200
        assert await status(daemon.url, None) == 0
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_with_an_authority_for_clients_nobody_else_connects(
    daemons: Any, config_for: Callable[..., Config], ours: Authority, clients: Authority
) -> None:
    """Neither without a certificate nor with another authority's; the rule counts for gRPC as well."""
    components = await asyncio.to_thread(build_components, config_for("http://127.0.0.1:9", MUTUAL))
    idle = grpc.aio.insecure_channel("127.0.0.1:9")  # while one is there, gRPC does not stop its threads in our loop
    async with idle, daemons(MUTUAL, components=components) as daemon:
        told = [
            await status(daemon.url, client(ours.path, certificate))
            for certificate in (None, ours.issue("stranger"), clients.issue("robot"))
        ]
        address = next(url for url in daemon.urls if url.startswith("grpc")).partition("://")[2]
        over_grpc = [await live(address, ours, certificate) for certificate in (None, clients.issue("robot2"))]

    assert told == [0, 0, 200]
    assert over_grpc == [False, True]


async def live(address: str, ours: Authority, certificate: tuple[Path, Path] | None) -> bool:
    """Whether gRPC's health service answers."""
    from grpc_health.v1 import health_pb2

    chain, key = (None, None) if certificate is None else (path.read_bytes() for path in certificate)
    credentials = grpc.ssl_channel_credentials(ours.path.read_bytes(), key, chain)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            await check(health_pb2.HealthCheckRequest().SerializeToString(), timeout=5)
        except grpc.aio.AioRpcError:
            return False
        return True


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path, ours: Authority) -> None:
    """For the connections to come; a half-written pair changes nothing until it is whole."""
    files = tls_files(parse(TLS + PROVIDER, tmp_path / "llm-pool.toml"))
    assert files is not None
    context = context_for(files)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]

    async def serial() -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client(ours.path))
        number: str = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        return number

    async with server, reload_certificates(context, files, every=0.05):
        first = await serial()
        whole = files.key.read_bytes()
        ours.issue("server")
        new_key = files.key.read_bytes()
        files.key.write_bytes(whole)
        await asyncio.sleep(0.2)
        between = await serial()
        files.key.write_bytes(new_key)
        os.utime(files.key)
        await asyncio.sleep(0.3)
        after = await serial()

    assert between == first
    assert after != first


PROVIDER = '[[providers]]\nname = "p"\ndriver = "ollama"\nbase_url = "http://127.0.0.1:9"\nmodel = "m"\n'


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        (TLS.replace("server.cert", "missing.cert"), "tls_cert"),
        (TLS.replace("server.key", "clients"), "tls_cert"),
        (MUTUAL.replace("clients.pem", "nobody.pem"), "client_ca"),
    ],
)
async def test_files_that_are_no_good_are_named(
    text: str, culprit: str, config_for: Callable[..., Config], ours: Authority, clients: Authority
) -> None:
    """At the start, before anybody is served."""
    with pytest.raises(ConfigError, match=culprit):
        build_components(config_for("http://127.0.0.1:9", text))


async def test_a_certificate_of_a_client_is_proof_enough_to_listen(config_for: Callable[..., Config]) -> None:
    """S23: with an authority for clients, an address that others reach is not open to all."""
    check_addresses(config_for("http://127.0.0.1:9", MUTUAL.replace("127.0.0.1:0", "0.0.0.0:0")))


@pytest.mark.parametrize("key", ["tls_key", "client_ca"])
async def test_tls_is_all_or_nothing(key: str, config_for: Callable[..., Config]) -> None:
    """A key or an authority without a certificate is a mistake, and not plain text."""
    with pytest.raises(ConfigError, match=f"server.{key}"):
        config_for("http://127.0.0.1:9", f'{PLAIN}{key} = "x.pem"\n')

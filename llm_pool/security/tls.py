"""TLS for HTTP and gRPC: 1.2 or later, with a client's certificate where the configuration wants one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import ConfigError
from llm_pool.core.files import open_regular

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import grpc

    from llm_pool.config import Config

POLL_INTERVAL = 5.0
"""Seconds between two looks whether the files were renewed."""
_log = logging.getLogger("llm_pool.security")


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files: *cert* with its chain, its *key*, and the authorities of clients, if these must have certificates."""

    cert: Path
    key: Path
    client_ca: Path | None

    def mtimes(self) -> tuple[int, ...]:
        """What changes when a file is renewed; files that are not there count as 0."""
        mtimes = []
        for path in (self.cert, self.key, self.client_ca):
            with contextlib.suppress(OSError):
                mtimes.append(0 if path is None else path.stat().st_mtime_ns)
        return tuple(mtimes)


def tls_files(config: Config) -> TlsFiles | None:
    """The files that ``[server]`` names; None is plain text."""
    server, folder = config.server, config.path.parent
    if server.tls_cert is None:
        return None
    return TlsFiles(
        cert=folder / server.tls_cert,
        key=folder / (server.tls_key or server.tls_cert),
        client_ca=None if server.client_ca is None else folder / server.client_ca,
    )


def context_for(files: TlsFiles) -> ssl.SSLContext:
    """A server's context; raises ConfigError where a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if files.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    load(context, files)
    return context


def load(context: ssl.SSLContext, files: TlsFiles) -> None:
    """
    Read *files* into *context*, for the connections to come.

    Raises:
        ConfigError: a file is missing, or is not what it should be.
    """
    key, path = "server.tls_cert", files.cert
    try:
        for file in (files.cert, files.key):
            open_regular(file).close()  # OpenSSL would wait for whoever writes into a pipe
        context.load_cert_chain(files.cert, files.key, password=_no_password)
        if files.client_ca is not None:
            key, path = "server.client_ca", files.client_ca
            open_regular(path).close()
            context.load_verify_locations(files.client_ca)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = error.reason if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
        got = f"{path} ({str(reason or error).lower()})"
        raise ConfigError(path=None, key=key, got=got, want="PEM files that belong together") from None


@asynccontextmanager
async def reload_certificates(
    context: ssl.SSLContext, files: TlsFiles, *, every: float = POLL_INTERVAL
) -> AsyncIterator[None]:
    """Take up renewed files while the block runs; ones that cannot be used change nothing."""
    task = asyncio.create_task(_renew(context, files, every), name="watch the certificates")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """A gRPC server's credentials, which take up renewed files too; raises ConfigError."""
    import grpc

    context_for(files)  # gRPC would say nothing of a file that is no good
    mtimes = files.mtimes()

    def read() -> grpc.ServerCertificateConfiguration:
        chain = [(files.key.read_bytes(), files.cert.read_bytes())]
        roots = None if files.client_ca is None else files.client_ca.read_bytes()
        return grpc.ssl_server_certificate_configuration(chain, roots)

    def renewed() -> grpc.ServerCertificateConfiguration | None:  # in a thread of gRPC, for each connection
        nonlocal mtimes
        found = files.mtimes()
        if found == mtimes:
            return None
        try:
            context_for(files)
            mtimes, configuration = found, read()
        except (ConfigError, OSError) as error:
            _log.warning("the renewed certificate cannot be loaded: %s", error)
            return None
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        read(),
        renewed,  # type: ignore[arg-type]  # the stubs forget that None means unchanged
        require_client_authentication=files.client_ca is not None,
    )


async def _renew(context: ssl.SSLContext, files: TlsFiles, every: float) -> None:
    mtimes = await asyncio.to_thread(files.mtimes)
    while True:
        await asyncio.sleep(every)
        found = await asyncio.to_thread(files.mtimes)
        if found == mtimes:
            continue
        try:
            await asyncio.to_thread(_reload, context, files)
        except ConfigError as error:
            _log.warning("the renewed certificate cannot be loaded: %s", error)
        else:
            mtimes = found


def _reload(context: ssl.SSLContext, files: TlsFiles) -> None:
    context_for(files)  # a half-written pair fails here, and leaves the context as it is
    load(context, files)


def _no_password() -> str:
    raise ValueError("a key with a password")

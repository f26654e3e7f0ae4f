"""The one HTTP client, on real sockets."""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from llm_pool.core.errors import BadReply, Failed, OutOfResources, Rejected, Unreachable
from llm_pool.providers.transport import Backend, TlsFiles, Transport, with_bearer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

Serving = Callable[[Any], Any]


async def answer_ok(visit: Any) -> None:
    visit.whole(b'{"ok": true}')


async def say_nothing(visit: Any) -> None:
    await visit.closed()
    raise ConnectionError


async def say_half(visit: Any) -> None:
    visit.begin()
    visit.chunk(b"half")
    await say_nothing(visit)


async def test_a_request_arrives_as_it_was_sent(serving: Serving, transport: Transport) -> None:
    """Path after the base path, headers of the backend, a body with its length; no compression asked for."""
    async with serving(answer_ok).listening() as server:
        backend = Backend("p", f"{server.url}/base/", headers={"Authorization": "Bearer k"})

        reply = await transport.request(backend, "POST", "/api", b'{"q": 1}')

    (visit,) = server.visits
    assert (reply.status, reply.body) == (200, b'{"ok": true}')
    assert (visit.line, visit.raw) == ("POST /base/api", b'{"q": 1}')
    assert visit.headers["host"] == server.url.removeprefix("http://")
    assert visit.headers["authorization"] == "Bearer k"
    assert visit.headers["accept-encoding"] == "identity"


async def test_a_piece_comes_as_soon_as_it_is_sent(serving: Serving, transport: Transport) -> None:
    """Nothing is gathered on the way: the first token must not wait for the second."""
    async with (
        serving(say_half).listening() as server,
        asyncio.timeout(1),
        transport.stream(Backend("p", server.url), "GET", "/") as response,
    ):
        assert await response.piece() == b"half"


@pytest.mark.parametrize("serve", [say_nothing, say_half])
async def test_a_cancelled_call_closes_its_socket_at_once(serving: Serving, transport: Transport, serve: Any) -> None:
    """R3: within 100 ms the backend knows, whether it has begun to answer or is still reading the prompt."""
    gone = asyncio.Event()

    async def watched(visit: Any) -> None:
        try:
            await serve(visit)
        finally:
            gone.set()

    async with serving(watched).listening() as server:
        call = asyncio.create_task(transport.request(Backend("p", server.url), "POST", "/", b"{}"))
        await server.visited.wait()
        await asyncio.sleep(0.01)

        call.cancel()

        async with asyncio.timeout(0.1):
            await gone.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_connection_is_used_again(serving: Serving, transport: Transport) -> None:
    async with serving(answer_ok).listening() as server:
        for _ in range(3):
            await transport.request(Backend("p", server.url), "POST", "/", b"{}")

        assert server.connections == 1
        assert repr(transport) == "<Transport [1 open, 1 idle]>"


async def test_a_connection_that_the_backend_closed_is_replaced(serving: Serving, transport: Transport) -> None:
    """llama-server closes after five quiet seconds; the next call must not notice."""

    async def once(visit: Any) -> None:
        visit.whole()
        if len(server.visits) == 1:
            raise ConnectionError

    async with serving(once).listening() as server:
        await transport.request(Backend("p", server.url), "POST", "/", b"{}")
        reply = await transport.request(Backend("p", server.url), "POST", "/", b"{}")

        assert reply.status == 200
        assert server.connections == 2


async def test_a_kept_connection_that_dies_under_a_request_is_replaced(serving: Serving, transport: Transport) -> None:
    """The backend may close in the moment we write: it cannot have answered, so asking again is right."""

    async def second_time_never(visit: Any) -> None:
        if len(server.visits) == 2:
            raise ConnectionError
        visit.whole()

    async with serving(second_time_never).listening() as server:
        await transport.request(Backend("p", server.url), "POST", "/", b"{}")
        reply = await transport.request(Backend("p", server.url), "POST", "/", b"{}")

        assert reply.status == 200
        assert len(server.visits) == 3


async def test_a_request_is_sent_again_once_at_most(serving: Serving, transport: Transport) -> None:
    """A request that kills its backend must not be tried on every connection there is."""

    async def die_when_asked_again(visit: Any) -> None:
        if len(server.visits) > 5:
            raise ConnectionError
        await asyncio.sleep(0.01)
        visit.whole()

    async with serving(die_when_asked_again).listening() as server:
        backend = Backend("p", server.url)
        await asyncio.gather(*(transport.request(backend, "POST", "/", b"{}") for _ in range(5)))

        with pytest.raises(Unreachable):
            await transport.request(backend, "POST", "/", b"{}")

        assert len(server.visits) == 5 + 2


async def test_an_old_connection_is_not_trusted(serving: Serving) -> None:
    transport = Transport(idle_timeout=0.01)
    async with serving(answer_ok).listening() as server:
        await transport.request(Backend("p", server.url), "GET", "/")
        await asyncio.sleep(0.02)
        await transport.request(Backend("p", server.url), "GET", "/")

        assert server.connections == 2
        await transport.aclose()


async def test_nobody_listens(transport: Transport) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(Unreachable, match=f"nobody listens at 127.0.0.1:{port}") as caught:
        await transport.request(Backend("p", f"http://127.0.0.1:{port}", hint="start it"), "GET", "/")

    assert (caught.value.provider, caught.value.hint) == ("p", "start it")


async def test_a_host_without_an_address(transport: Transport) -> None:
    with pytest.raises(Unreachable, match=r"no such host: nowhere\.invalid"):
        await transport.request(Backend("p", "http://nowhere.invalid"), "GET", "/")


async def test_a_backend_that_does_not_greet_in_time(serving: Serving) -> None:
    transport = Transport(connect_timeout=0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        with pytest.raises(Unreachable, match=r"no connection to .* within 0\.05 s"):
            await transport.request(Backend("p", f"https://127.0.0.1:{port}"), "GET", "/")

    await transport.aclose()


async def test_a_backend_that_speaks_no_tls(transport: Transport) -> None:
    async def mumble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(mumble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unreachable, match=f"no TLS with 127.0.0.1:{port}"):
            await transport.request(Backend("p", f"https://127.0.0.1:{port}"), "GET", "/")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_https_with_a_certificate_we_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no call to one we do not."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    await asyncio.to_thread(_make_certificate, key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(context.load_cert_chain, certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    backend = Backend("p", f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await _asked_once(backend)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert await _asked_once(backend) == b"ok"

    server.close()
    await server.wait_closed()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_https_with_files_of_its_own(tmp_path: Path) -> None:
    """``ca_file`` says whom to trust, ``client_cert`` who we are; each backend has its own connections."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    await asyncio.to_thread(_make_certificate, key, certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    await asyncio.to_thread(context.load_cert_chain, certificate, key)
    await asyncio.to_thread(context.load_verify_locations, certificate)
    shown = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("peercert")["subject"])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    mine = TlsFiles(ca=certificate, cert=certificate, key=key)

    assert await _asked_once(Backend("p", url, tls=mine)) == b"ok"
    assert shown == [((("commonName", "test"),),)]
    with pytest.raises((Unreachable, Failed)):
        await _asked_once(Backend("p", url, tls=TlsFiles(ca=certificate)))

    server.close()
    await server.wait_closed()


async def test_files_that_are_no_certificates_are_named(tmp_path: Path, transport: Transport) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("nothing of the kind")

    with pytest.raises(Rejected, match="ca_file, client_cert or client_key cannot be used") as caught:
        await transport.request(Backend("p", "https://127.0.0.1:1", tls=TlsFiles(ca=wrong)), "GET", "/")

    assert caught.value.hint == "check these of provider p"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("Bearer sk-12345", "bad key sk-12345!", "bad key ***!"),
        ("Basic dTpw", "Basic dTpw refused", "*** refused"),
        ("k", "unknown key k", "unknown key ***"),
        ("", "nothing", "nothing"),
    ],
)
def test_what_headers_hold_is_taken_out_of_texts(value: str, text: str, shown: str) -> None:
    """A value as short as a word is taken out as a word."""
    assert Backend("p", "http://h", headers={"X-Key": value}).redacted(text) == shown


@pytest.mark.parametrize(
    ("url", "prefix"), [("http://h", ""), ("HTTP://h/", ""), ("http://h//v1", "/v1"), ("http://h/a//b/", "/a/b")]
)
def test_a_path_is_written_once(url: str, prefix: str) -> None:
    assert Backend("p", url).prefix == prefix


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, {"Authorization": "Bearer k"}),
        ({"X": "1"}, {"X": "1", "Authorization": "Bearer k"}),
        ({"authorization": "Basic x"}, {"authorization": "Basic x"}),
    ],
)
def test_an_authorization_of_ones_own_comes_before_the_key(headers: dict[str, str], expected: dict[str, str]) -> None:
    assert with_bearer(headers, "k") == expected


def _make_certificate(key: Path, certificate: Path) -> None:
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(f"{make} {names}".split(), check=True, capture_output=True)


async def _asked_once(backend: Backend) -> bytes:
    transport = Transport()
    try:
        return (await transport.request(backend, "GET", "/")).body
    finally:
        await transport.aclose()


async def _replied(serving: Serving, transport: Transport, raw: bytes) -> bytes:
    async def reply(visit: Any) -> None:
        visit.write(raw)
        await visit.drained()
        raise ConnectionError

    async with serving(reply).listening() as server:
        return (await transport.request(Backend("p", server.url), "GET", "/")).body


async def test_a_connection_that_ends_before_an_answer(serving: Serving, transport: Transport) -> None:
    with pytest.raises(Unreachable, match="gave no answer: the connection was closed"):
        await _replied(serving, transport, b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
)
async def test_an_answer_that_is_cut_is_never_a_success(serving: Serving, transport: Transport, raw: bytes) -> None:
    with pytest.raises(Failed):
        await _replied(serving, transport, raw)


async def test_an_answer_may_end_with_the_connection(serving: Serving, transport: Transport) -> None:
    """HTTP/1.0's way, where no length is given."""
    assert await _replied(serving, transport, b"HTTP/1.0 200 OK\r\n\r\nall of it") == b"all of it"


async def test_a_body_has_a_limit(serving: Serving, transport: Transport) -> None:
    async def flood(visit: Any) -> None:
        visit.begin()
        while True:
            visit.chunk(b"x" * 1000)
            await visit.drained()

    async with serving(flood).listening() as server:
        with pytest.raises(BadReply, match="more than 5000 bytes"):
            await transport.request(Backend("p", server.url), "GET", "/", limit=5000)


async def test_a_slow_reader_slows_the_backend(serving: Serving, transport: Transport) -> None:
    """Memory stays bounded however much the backend sends; nothing is lost."""
    total = 20 * 1024 * 1024

    async def pour(visit: Any) -> None:
        visit.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            visit.write(bytes(65536))
            await visit.drained()

    async with (
        serving(pour).listening() as server,
        transport.stream(Backend("p", server.url), "GET", "/") as response,
    ):
        await asyncio.sleep(0.1)
        assert response._answer.buffered < 1024 * 1024
        received = 0
        while (piece := await response.piece()) is not None:
            received += len(piece)

    assert received == total


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "naïve", "a\x00b"])
async def test_a_key_cannot_smuggle_a_header(transport: Transport, value: str) -> None:
    with pytest.raises(Rejected, match="Authorization has a character") as caught:
        await transport.request(Backend("p", "http://127.0.0.1:1", headers={"Authorization": value}), "GET", "/")

    assert value not in str(caught.value)


async def test_a_proxy_in_the_environment_is_not_asked(
    serving: Serving, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(answer_ok).listening() as server:
        assert (await transport.request(Backend("p", server.url), "GET", "/")).status == 200


async def test_small_writes_are_sent_at_once(serving: Serving, transport: Transport) -> None:
    async with (
        serving(answer_ok).listening() as server,
        transport.stream(Backend("p", server.url), "GET", "/") as response,
    ):
        raw = response._connection._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_closing_closes_everything(serving: Serving) -> None:
    transport = Transport()
    async with serving(say_half).listening() as server:
        call = asyncio.create_task(transport.request(Backend("p", server.url), "GET", "/"))
        await server.visited.wait()
        await asyncio.sleep(0.01)

        await transport.aclose()
        await transport.aclose()

        with pytest.raises(Failed, match="closed by us"):
            await call
        assert repr(transport) == "<Transport [0 open, 0 idle]>"


async def test_a_storm_of_cancelled_calls_leaves_nothing_behind(serving: Serving) -> None:
    """R4: 400 calls, each cancelled within 20 ms, then 20 of 20 clean ones within a second and no socket left over."""
    chance = random.Random(4)

    async def dither(visit: Any) -> None:
        await asyncio.sleep(chance.uniform(0, 0.01))
        visit.begin()
        for _ in range(3):
            visit.chunk(b"piece")
            await asyncio.sleep(0.002)
        visit.write(b"0\r\n\r\n")

    transport = Transport(max_idle=4)
    slots = asyncio.Semaphore(4)
    async with serving(dither).listening() as server:
        backend = Backend("p", server.url)

        async def ask() -> None:
            async with slots:
                await transport.request(backend, "POST", "/", b"{}")

        async def cancelled(after: float) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(after):
                    await ask()

        await asyncio.gather(*(cancelled(chance.uniform(0, 0.02)) for _ in range(200)))
        for _ in range(200):
            await cancelled(chance.uniform(0, 0.004))
        async with asyncio.timeout(1):
            await asyncio.gather(*(ask() for _ in range(20)))

        await asyncio.sleep(0.05)
        assert server.now_open == len(transport._open) <= 4
        assert slots._value == 4
        await transport.aclose()
        await asyncio.sleep(0.05)
        assert server.now_open == 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_without_descriptors_the_backend_is_not_blamed(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Our own trouble: no breaker moves for it, and it says what there is none left of."""

    async def fail(_addresses: Any) -> socket.socket:
        raise OSError(number, "Too many open files")

    monkeypatch.setattr("llm_pool.providers.transport.open_socket", fail)

    with pytest.raises(OutOfResources, match="no more file descriptors") as raised:
        await transport.request(Backend("p", "http://127.0.0.1:9"), "GET", "/")

    assert not raised.value.trips_breaker

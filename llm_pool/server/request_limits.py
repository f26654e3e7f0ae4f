"""
What a stranger may send before anybody looks at it: limits on time, size and shape of a request's head.

uvicorn's httptools protocol refuses what is ambiguous in the framing (both lengths, bare line feeds, folded
headers). This adds what it lets pass: silence, endless heads, any number of hosts, doubled credentials, paths that
two parsers read differently. A refused request closes its connection, once its sender had time to read why;
``exchange`` limits the body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from httptools import HttpParserError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from llm_pool.server.middleware import LINGER
from llm_pool.server.request_headers import correlation_id
from llm_pool.server.upgrades import OfferDecliningProtocol

if TYPE_CHECKING:
    import asyncio

HEAD_TIME = 5.0
"""Seconds a head may take to arrive, from the connection or from its first byte on one that was kept."""
HEAD_LIMIT = 16 << 10
"""Bytes of a head."""
HEADERS_LIMIT = 64
TARGET_LIMIT = 8 << 10
"""Bytes of a request's target."""

SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"transfer-encoding",
        b"x-api-key",
        b"x-deadline-ms",
        b"x-nonce",
        b"x-signature",
        b"x-tenant",
        b"x-timestamp",
    }
)
"""Headers that decide something: twice, or spelled with an underscore, they could be read in two ways."""

PROBES = frozenset({b"/livez", b"/readyz"})
"""What a balancer may ask for in HTTP/1.0 and without Host, as HAProxy's ``option httpchk`` does."""

_HOST = re.compile(rb"(?:[A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PATH = re.compile(rb"/[!-\[\]-~]*")
"""Printable ASCII but the backslash."""
_AMBIGUOUS = re.compile(rb"//|/\.\.?(?:/|$)|%2f|%5c|%2e|%00", re.IGNORECASE)
_MODEL_PATH = b"/v1/models/"
"""Below it is one name and nothing else; OpenAI's client writes ``pool/judge`` there as ``pool%2Fjudge``."""


class LimitedHttpProtocol(OfferDecliningProtocol):
    """uvicorn's HTTP protocol with limits."""

    _timer: asyncio.TimerHandle | None = None
    _refusal = (400, "not HTTP as we read it")
    _head = 0  # bytes of whole headers
    _unparsed = 0  # bytes that came since the head began, but for a chunk that begins with something else
    _in_head = False
    _in_body = False
    _lingers = False  # a request was refused: what still comes is dropped

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there; its head must follow."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn narrows it: a stream's transport
        self._arm()

    @property
    def idle_since(self) -> float | None:
        """The instant since which nothing is asked over this connection; None while something is."""
        is_idle = self._lingers or not (self._line or self._in_head or self._in_body)
        return self._idle_since if is_idle else None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, within the limits."""
        if self._lingers:
            return
        all_head = self._in_head or not (self._line or self._in_body)
        super().data_received(data)
        if self._lingers:
            return
        if self._in_head and all_head:
            self._unparsed += len(data)
        if self._in_head or not self._line:  # also a head behind a request that is being answered, or empty lines
            self._arm()
        if self._in_head and self._unparsed > HEAD_LIMIT and not self.transport.is_closing():
            self._refusal = (431, f"the head is over {HEAD_LIMIT} bytes")
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head = self._unparsed = 0
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One more header."""
        super().on_header(name, value)
        self._head += len(name) + len(value) + 4
        if self._head > HEAD_LIMIT or len(self.headers) > HEADERS_LIMIT:
            self._refuse(431, f"the head is over {HEADERS_LIMIT} headers or {HEAD_LIMIT} bytes")

    def on_headers_complete(self) -> None:
        """The head is whole: look at it, and let the application begin."""
        self._check_target()
        self._check_headers()
        self._disarm()
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole."""
        super().on_message_complete()
        self._in_body = False

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # ours says more
        """Refuse, and close; while an earlier answer is on its way, only close: two answers would be taken for one."""
        if not self._may_answer():
            self.transport.close()
        elif not self.transport.is_closing():
            status, reason = self._refusal
            body = msgspec.json.encode({"error": {"code": "bad_request", "message": reason, "hint": None}})
            own = [(b"content-type", b"application/json"), (b"x-request-id", correlation_id(self.headers).encode())]
            headers = [*self.server_state.default_headers, *own]
            head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            length = str(len(body)).encode()
            self.transport.write(
                STATUS_LINE[status] + head + b"content-length: " + length + b"\r\nconnection: close\r\n\r\n" + body
            )
            self._linger()

    def _linger(self) -> None:
        """Close in a while: a reset for what is still on its way would take the answer with it (RFC 9112, 9.6)."""
        self._lingers = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._disarm()
        self._timer = self.loop.call_later(LINGER, self.transport.close)

    def _check_target(self) -> None:
        path = self.url.partition(b"?")[0]
        if len(self.url) > TARGET_LIMIT:
            self._refuse(414, f"the target is over {TARGET_LIMIT} bytes")
        read = path.replace(b"%2F", b"/") if path.startswith(_MODEL_PATH) else path
        if not _PATH.fullmatch(path) or _AMBIGUOUS.search(read):
            self._refuse(400, "the path must be absolute, in plain ASCII, and readable in one way")

    def _check_headers(self) -> None:
        names = [name for name, _ in self.headers]
        for name in names:
            plain = name.replace(b"_", b"-") if b"_" in name else name
            if plain in SINGLE_HEADERS and (plain is not name or names.count(name) > 1):
                self._refuse(400, f"{plain.decode()} may be given once, spelled so")
        hosts = [value for name, value in self.headers if name == b"host"]
        is_probe = self.parser.get_http_version() == "1.0" and self.url.partition(b"?")[0] in PROBES
        if not (is_probe and not hosts) and (len(hosts) != 1 or not _HOST.fullmatch(hosts[0])):
            self._refuse(400, "exactly one valid Host is needed")
        coding = [value for name, value in self.headers if name == b"transfer-encoding"]
        if coding and (coding[0].lower() != b"chunked" or self.parser.get_http_version() != "1.1"):
            self._refuse(400, "the only transfer encoding is chunked, in HTTP/1.1")

    def _refuse(self, status: int, reason: str) -> None:
        self._refusal = (status, reason)
        raise HttpParserError(reason)

    def _may_answer(self) -> bool:
        if self._in_body:
            return len(self._line) == 1 and not self._line[0].has_begun
        return not self._line

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_TIME, self._on_timeout)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        if self._in_body:
            return
        if not self._line:
            self.transport.close()
        elif self._in_head:  # the answer before it has the connection: look again once it may be over
            self._arm()

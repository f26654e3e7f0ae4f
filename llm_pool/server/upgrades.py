"""
Offers to go on in another protocol, declined: a request that makes one is answered as it stands (RFC 9110, 7.8).

Java's HTTP client, and so IntelliJ, Spring and DBeaver, offers HTTP/2 with every request over plain TCP. llhttp takes
the end of such a head for the end of HTTP and drops the body, as if the offer were taken. So a parser of its own reads
the request once more, without the offer.
"""

from __future__ import annotations

import httptools

from llm_pool.server.connection import Connection

OFFERS = frozenset({b"upgrade", b"http2-settings"})
"""Headers that are the offer."""


class OfferDecliningProtocol(Connection):
    """A connection for which there is no other protocol."""

    def on_headers_complete(self) -> None:
        """A head is whole; one with an offer is yet to be read without."""
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A body is whole; one behind an offer was not read."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        try:
            super()._feed(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline(data[offer.args[0] :])

    def _decline(self, rest: bytes) -> None:
        """Read the request without its offer, and *rest*, which came behind its head."""
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%b: %b\r\n" % header for header in self.headers if header[0] not in OFFERS]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed(b"".join([line, *headers, b"\r\n"]))
        if rest:
            self._feed(rest)

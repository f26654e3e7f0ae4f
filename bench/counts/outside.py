"""
The client and the models, in one thread: step by step, each step once the daemon has nothing left to do.

So a request takes the same way each time, whatever else the machine does.
"""

from __future__ import annotations

import json
import select
import socket
from typing import TYPE_CHECKING, NamedTuple

from bench.load.nginx import PIECES, completion, models, sse

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from bench.counts.counting import CountingLoop

READ_TIMEOUT = 20.0


class Question(NamedTuple):
    """A question that the daemon asked a model: over which connection, and whether it wants a stream."""

    connection: socket.socket
    model: int
    streamed: bool


class Outside:
    """
    Everybody whom the daemon speaks with.

    Args:
        loop: the daemon's.
        count: models, each a server of its own.
    """

    def __init__(self, loop: CountingLoop, count: int) -> None:
        self._loop = loop
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
        self._models: dict[socket.socket, int] = {}
        self._unread: dict[socket.socket, bytes] = {}
        self._asked: list[Question] = []
        self._client: socket.socket | None = None
        self._holding: socket.socket | None = None

    @property
    def urls(self) -> list[str]:
        """Of the models."""
        return [f"http://127.0.0.1:{each.getsockname()[1]}" for each in self._listeners]

    def connect(self, port: int) -> None:
        """The client connects to the daemon."""
        self._loop.after(lambda: setattr(self, "_client", socket.create_connection(("127.0.0.1", port))))

    def hold(self, port: int, path: str, body: str) -> None:
        """Another client posts *body*, and no model ever answers it."""
        self.connect(port)
        self._holding, self._client = self._client, self._holding
        assert self._holding is not None
        self._send(self._holding, post(path, body))
        while not self._asked:
            self._hear()
        self._asked.clear()

    def ask(self, path: str, body: str, pieces: tuple[str, ...] = PIECES) -> bytes:
        """
        Post *body*; the models that are asked answer in their order, and say *pieces*.

        Returns:
            the daemon's response, head and body.
        """
        assert self._client is not None
        self._send(self._client, post(path, body))
        said = b""
        while not is_whole(said):
            self._hear()
            said += self._unread.pop(self._client, b"")
            if self._asked:
                self._asked.sort(key=lambda question: question.model)
                self._answer(self._asked.pop(0), pieces)
        return said

    def _answer(self, question: Question, pieces: tuple[str, ...]) -> None:
        if not question.streamed:
            self._send(question.connection, response("application/json", completion(pieces).encode()))
            return
        self._send(question.connection, STREAM_HEAD)
        for event in sse(pieces):
            self._send(question.connection, b"%x\r\n%b\r\n" % (len(event), event))
        self._send(question.connection, b"0\r\n\r\n")

    def _send(self, connection: socket.socket, data: bytes) -> None:
        self._loop.after(lambda: connection.sendall(data))

    def _hear(self) -> None:
        """Take in what has come from the daemon; wait for it where nothing has."""
        waiting = [*self._listeners, *self._models, *([] if self._client is None else [self._client])]
        ready, _, _ = select.select(waiting, [], [], 0 if self._asked else READ_TIMEOUT)
        if not ready and not self._asked:
            raise TimeoutError(f"the daemon says nothing for {READ_TIMEOUT:g} s")
        for each in ready:
            if each in self._listeners:
                connection, _ = each.accept()
                self._models[connection] = self._listeners.index(each)
                continue
            data = each.recv(1 << 20)
            self._unread[each] = self._unread.get(each, b"") + data
            if not data:
                self._models.pop(each, None)
                self._asked = [question for question in self._asked if question.connection is not each]
                each.close()
            elif each in self._models and is_whole(self._unread[each]):
                self._take(each, self._unread.pop(each))

    def _take(self, connection: socket.socket, request: bytes) -> None:
        """A request of the daemon to a model: a question, or what is asked of its server."""
        head, _, body = request.partition(b"\r\n\r\n")
        path = head.split()[1]
        if path == b"/v1/chat/completions":
            self._asked.append(Question(connection, self._models[connection], bool(json.loads(body).get("stream"))))
        elif path == b"/v1/models":
            self._send(connection, response("application/json", models().encode()))
        else:
            self._send(connection, response("application/json", b"{}", b"404 Not Found"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in [*self._listeners, *self._models, self._client, self._holding]:
            if each is not None:
                each.close()


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def post(path: str, body: str) -> bytes:
    """A whole request."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def response(content_type: str, body: bytes, status: bytes = b"200 OK") -> bytes:
    """A whole response."""
    head = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    return b"HTTP/1.1 " + status + b"\r\n" + head + body


def is_whole(message: bytes) -> bool:
    """Whether *message*, an HTTP request or response, has its whole body."""
    head, blank, body = message.partition(b"\r\n\r\n")
    if not blank:
        return False
    fields = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
    named = {name: value.strip() for name, _, value in fields}
    if named.get(b"transfer-encoding") == b"chunked":
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(named.get(b"content-length", b"0"))

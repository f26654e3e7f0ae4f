from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers import connection
from llm_pool.providers.connection import ConnectionBroken, ResponseParser

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nx-a: 2\r\n\r\n"
    b"3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\n\r\n"
)
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nabc0123456789"


@given(st.sampled_from([CHUNKED, SIZED]), st.lists(st.integers(1, 140), max_size=30))
def test_an_answer_is_the_same_however_it_is_cut(raw: bytes, cuts: list[int]) -> None:
    answer = ResponseParser()
    marks = [0, *sorted(cut for cut in cuts if cut < len(raw)), len(raw)]

    for begin, end in pairwise(marks):
        answer.feed(raw[begin:end])

    assert answer.buffered == 13
    assert answer.take() == b"abc0123456789"
    assert not answer.pieces
    assert (answer.status, answer.complete, answer.reusable, answer.delimited) == (200, True, True, True)
    assert answer.buffered == 0


@given(st.lists(st.binary(min_size=1, max_size=3 * connection.MAX_PIECE), min_size=1, max_size=8))
def test_what_waits_is_given_in_pieces_of_bounded_size(pieces: list[bytes]) -> None:
    """Many small pieces as one, and none is torn apart: it is as long as a read from the socket at most."""
    answer = ResponseParser()
    for piece in pieces:
        answer.on_body(piece)

    taken = []
    while answer.pieces:
        taken.append(answer.take())

    assert b"".join(taken) == b"".join(pieces)
    assert all(len(piece) <= max(connection.MAX_PIECE, *map(len, pieces)) for piece in taken)
    assert all(len(a) + len(b) > connection.MAX_PIECE for a, b in pairwise(taken)) or len(taken) == 1


@given(st.sampled_from([CHUNKED, SIZED]), st.data())
def test_a_cut_answer_is_never_whole(raw: bytes, data: st.DataObject) -> None:
    answer = ResponseParser()

    answer.feed(raw[: data.draw(st.integers(0, len(raw) - 1))])

    assert not answer.complete


def test_repeated_headers_are_joined() -> None:
    answer = ResponseParser()

    answer.feed(CHUNKED)

    assert answer.headers["x-a"] == "1, 2"


def test_an_interim_answer_is_passed_over() -> None:
    answer = ResponseParser()

    answer.feed(b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n" + SIZED)

    assert (answer.status, answer.complete) == (200, True)
    assert "x-a" not in answer.headers


def test_more_than_was_asked_spoils_the_connection() -> None:
    answer = ResponseParser()
    answer.feed(SIZED)

    answer.feed(b"HTTP/1.1 200 OK\r\n")

    assert answer.complete
    assert not answer.reusable


@pytest.mark.parametrize(
    "raw",
    [
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_a_clear_http_answer_is_refused(raw: bytes) -> None:
    with pytest.raises(ConnectionBroken, match="not an HTTP answer"):
        ResponseParser().feed(raw)


def test_headers_without_end_are_refused() -> None:
    answer = ResponseParser()
    answer.feed(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 60_000)

    with pytest.raises(ConnectionBroken, match="headers of more than"):
        answer.feed(b"a" * 6_000)

"""Server-sent events come out whole, wherever they were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.client import events
from llm_pool.client.events import ServerEvent, SseDecoder

LINES = st.lists(
    st.sampled_from(
        [b"data: a", b"data:b\xe2\x80\xa8c", b"event: delta", b": ping", b"id: 7", b"data", b"", b"", b"x: y"]
    )
)


def decoded(pieces: list[bytes]) -> list[ServerEvent]:
    decoder = SseDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


@given(
    lines=LINES, end=st.sampled_from([b"\n", b"\r\n", b"\r"]), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6)
)
def test_cuts_and_ends_of_lines_change_nothing(lines: list[bytes], end: bytes, sizes: list[int]) -> None:
    """The same events as from one piece with line feeds."""
    sent, pieces = b"".join(line + end for line in lines), []
    while sent:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(sent[:size])
        sent = sent[size:]

    assert decoded(pieces) == decoded([b"".join(line + b"\n" for line in lines)])


def test_a_line_separator_is_text() -> None:
    """JSON may hold U+2028, U+0085 and their kin as they are."""
    text = "a\u2028b\u2029c\x85d\x0be".encode()

    assert decoded([b"data: " + text + b"\n\n"]) == [ServerEvent("message", text)]


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded, on one line and on many."""
    monkeypatch.setattr(events, "MAX_EVENT", 100)

    for pieces in ([b"data: "] + [b"x"] * 100, [b"data: x\n"] * 20, [b": " + b"x" * 200]):
        with pytest.raises(ValueError, match="100 bytes"):
            decoded(pieces)
    assert len(decoded([b"data: xxxxxxxxxx\n\n"] * 100)) == 100

"""Promise R21: whatever way the bytes are cut, what comes out is what went in."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers import framing
from llm_pool.providers.framing import Events, JsonLines, Lines, Record, Splitter

TEXTS = st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=8)
JSON = st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
CUTS = st.lists(st.integers(0, 400), max_size=12)


def fed(splitter: Splitter | Lines, data: bytes, cuts: list[int]) -> list[bytes]:
    marks = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    records = [r for begin, end in pairwise(marks) for r in splitter.feed(data[begin:end])]
    return [record.data if isinstance(record, Record) else record for record in [*records, *splitter.finish()]]


@given(TEXTS, ENDS, CUTS)
def test_lines_survive_any_cut(texts: list[str], end: bytes, cuts: list[int]) -> None:
    lines = [text.encode() for text in texts]

    assert fed(Lines(), b"".join(line + end for line in lines), cuts) == lines


@given(st.lists(JSON, max_size=6), ENDS, CUTS)
def test_the_last_line_needs_no_end(values: list[Any], end: bytes, cuts: list[int]) -> None:
    lines = [json.dumps(value).encode() for value in values]

    assert fed(JsonLines(), (end + end).join(lines), cuts) == lines


@given(JSON, ENDS, CUTS)
def test_a_value_on_several_lines_is_one(value: Any, end: bytes, cuts: list[int]) -> None:
    """A server that was asked to stream and sends one pretty-printed object."""
    written = json.dumps({"choices": [value]}, indent=2).encode().replace(b"\n", end)

    (whole,) = fed(JsonLines(), written + end, cuts)

    assert json.loads(whole) == {"choices": [value]}


@given(st.lists(TEXTS.filter(bool), max_size=5), ENDS, CUTS, st.booleans())
def test_events_survive_any_cut(events: list[list[str]], end: bytes, cuts: list[int], noisy: bool) -> None:
    noise = b": still here" + end + b"event: message" + end + b"id" + end if noisy else b""
    data = b"".join(
        noise + b"".join(b"data: " + line.encode() + end for line in lines) + noise + end for lines in events
    )

    assert fed(Events(), data, cuts) == ["\n".join(lines).encode() for lines in events]


def test_an_event_needs_no_empty_line_at_the_very_end() -> None:
    assert fed(Events(), b"data: a\n\ndata: b", []) == [b"a", b"b"]


def test_an_event_without_data_says_nothing() -> None:
    assert fed(Events(), b": ping\n\nevent: end\n\n\n\n", []) == []


def test_an_error_in_any_shape_is_an_event() -> None:
    """llama-server's field, a bare object, and an event of that name."""
    splitter = Events()

    records = splitter.feed(b'data: a\nerror: {"code":400}\n{"error":"x"}\nevent: error\ndata: b\n\n')

    assert records == [Record(b'{"code":400}', "error"), Record(b'{"error":"x"}'), Record(b"a\nb", "error")]


def test_text_that_is_no_stream_is_quoted() -> None:
    splitter = Events()
    splitter.feed(b"upstream connect error\n")

    with pytest.raises(ValueError, match="no stream: 'upstream connect error'"):
        splitter.finish()


@given(
    parts=st.lists(
        st.sampled_from(
            [
                b"data: a\n\n",
                b"data:b\n\n",
                b"data: \n\n",
                b"event: e\n",
                b"data: c\n",
                b"\n",
                b": ping\n\n",
                b"data: d\r\n\r\n",
                b"{}\n",
            ]
        ),
        max_size=8,
    ),
    cuts=st.lists(st.integers(1, 30), max_size=8),
)
def test_events_are_the_same_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    """Whole events at once, or a byte at a time."""
    stream, splitter, records = b"".join(parts), Events(), list[Record]()
    bytewise = Events()

    rest = stream
    for cut in cuts:
        records += splitter.feed(rest[:cut])
        rest = rest[cut:]
    records += splitter.feed(rest) + splitter.finish()
    one_by_one = [r for at in range(len(stream)) for r in bytewise.feed(stream[at : at + 1])] + bytewise.finish()

    assert records == one_by_one


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert fed(Events(), b"data:  a\ndata:b\n\n", []) == [b" a\nb"]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert fed(Events(), b"\xef\xbb\xbfdata: a\n\n", []) == [b"a"]


@pytest.mark.parametrize("splitter", [Lines(), Events()])
def test_a_line_without_end_is_refused(splitter: Splitter | Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_LINE", 1000)

    with pytest.raises(ValueError, match="more than 1000"):
        fed(splitter, b"data: " + b"x" * 1001, [500])


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_LINE", 1000)

    with pytest.raises(ValueError, match="event of more"):
        fed(Events(), b"data: twelve bytes\n" * 100, [])

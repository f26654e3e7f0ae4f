from __future__ import annotations

import gzip
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_pool.providers.connection import MAX_PIECE
from llm_pool.providers.decompression import CorruptData, Decompressor, decompressor_for

if TYPE_CHECKING:
    from collections.abc import Callable


def _raw_deflate(data: bytes) -> bytes:
    packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packing.compress(data) + packing.flush()


PACKINGS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", _raw_deflate),
    ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
]


def unpacked(decompressor: Decompressor, pieces: list[bytes]) -> list[bytes]:
    out = []
    for piece in pieces:
        decompressor.feed(piece)
        while some := decompressor.take():
            out.append(some)
    decompressor.finish()
    return out


@given(st.sampled_from(PACKINGS), st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=8))
def test_what_was_packed_comes_out_however_it_is_cut(
    packing: tuple[str, Callable[[bytes], bytes]], data: bytes, cuts: list[int]
) -> None:
    name, pack = packing
    packed = pack(data)
    marks = [0, *sorted(cut for cut in cuts if cut < len(packed)), len(packed)]

    pieces = [packed[begin:end] for begin, end in pairwise(marks)]

    assert b"".join(unpacked(Decompressor(name), pieces)) == data


@pytest.mark.parametrize(("name", "pack"), PACKINGS)
def test_it_may_come_byte_by_byte(name: str, pack: Callable[[bytes], bytes]) -> None:
    pieces = [bytes([byte]) for byte in pack(b"Lisbon")]

    assert b"".join(unpacked(Decompressor(name), pieces)) == b"Lisbon"


def test_a_bomb_unfolds_piece_by_piece() -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)

    pieces = unpacked(Decompressor("gzip"), [bomb])

    assert sum(map(len, pieces)) == 5_000_000
    assert max(map(len, pieces)) <= MAX_PIECE


@pytest.mark.parametrize(
    ("name", "body"),
    [("br", b"x"), ("gzip", b"not packed at all"), ("deflate", b"\xff\xff\xff"), ("gzip", gzip.compress(b"cut")[:-9])],
)
def test_what_cannot_be_unpacked_is_refused(name: str, body: bytes) -> None:
    with pytest.raises(CorruptData):
        unpacked(Decompressor(name), [body])


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_packed_needs_nothing(encoding: str) -> None:
    assert decompressor_for(encoding) is None

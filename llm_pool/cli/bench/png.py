"""A picture as PNG, with nothing but zlib: rectangles, and text in the 5 by 7 dots of old displays."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from llm_pool.cli.bench.chart import Box

if TYPE_CHECKING:
    from llm_pool.cli.bench.chart import Label, Picture

_SCALE = 2
_ADVANCE = 6  # dots from one letter to the next
_DOTS = bytes.fromhex(
    "0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649562050 0008070300 001c224100 0041221c00"
    "2a1c7f1c2a 08083e0808 0080703000 0808080808 0000606000 2010080402 3e5149453e 00427f4000 7249494946 2141494d33"
    "1814127f10 2745454539 3c4a494931 4121110907 3649494936 464949291e 0000140000 0040340000 0008142241 1414141414"
    "0041221408 0201590906 3e415d594e 7c1211127c 7f49494936 3e41414122 7f4141413e 7f49494941 7f09090901 3e41415173"
    "7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f021c027f 7f0408107f 3e4141413e 7f09090906 3e4151215e"
    "7f09192946 2649494932 03017f0103 3f4040403f 1f2040201f 3f4038403f 6314081463 0304780403 6159494d43 007f414141"
    "0204081020 004141417f 0402010204 4040404040 0003070800 2054547840 7f28444438 3844444428 384444287f 3854545418"
    "00087e0902 18a4a49c78 7f08040478 00447d4000 2040403d00 7f10284400 00417f4000 7c04780478 7c08040478 3844444438"
    "fc18242418 18242418fc 7c08040408 4854545424 04043f4424 3c4040207c 1c2040201c 3c4030403c 4428102844 4c9090907c"
    "4464544c44 0008364100 0000770000 0041360800 0201020402".replace(" ", "")
)
"""Five columns per character from the blank to ``~``, the lowest bit on top."""


def png(drawn: Picture) -> bytes:
    """*drawn* as a PNG file, 8 bits for each of red, green and blue."""
    canvas = _Canvas(drawn.width, drawn.height)
    for shape in drawn.shapes:
        if isinstance(shape, Box):
            canvas.box(round(shape.x), round(shape.y), round(shape.width), round(shape.height), _colour(shape.color))
        else:
            canvas.text(shape)
    rows = b"".join(b"\0" + row for row in canvas.rows)  # filter 0: as it is
    header = struct.pack(">IIBBBBB", drawn.width, drawn.height, 8, 2, 0, 0, 0)
    parts = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class _Canvas:
    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self.rows = [bytearray(b"\xff" * 3 * width) for _ in range(height)]

    def box(self, left: int, top: int, width: int, height: int, colour: bytes) -> None:
        left, right = max(0, left), min(self._width, left + width)
        for row in self.rows[max(0, top) : top + height]:
            row[3 * left : 3 * right] = colour * max(0, right - left)

    def text(self, label: Label) -> None:
        colour = _colour(label.color)
        x, top = round(label.x), round(label.y) - 7 * _SCALE
        for char in label.text:
            index = (ord(char) - 32) * 5
            columns = _DOTS[index : index + 5] if 0 <= index < len(_DOTS) else b"\x7f\x41\x41\x41\x7f"
            for column, bits in enumerate(columns):
                for dot in range(8):
                    if bits >> dot & 1:
                        self.box(x + column * _SCALE, top + dot * _SCALE, _SCALE, _SCALE, colour)
            x += _ADVANCE * _SCALE


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _colour(color: str) -> bytes:
    return bytes.fromhex(color.removeprefix("#"))

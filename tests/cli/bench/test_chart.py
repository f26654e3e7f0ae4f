"""The figures as table, bars, SVG and PNG."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zlib

from llm_pool.cli.bench.chart import bars, picture, svg, table
from llm_pool.cli.bench.figures import Sample, sum_up
from llm_pool.cli.bench.png import png

FAST = sum_up("phi3", [Sample(took=0.1, first_token=0.05)] * 99 + [Sample(took=0.4, first_token=0.05)], elapsed=10.0)
SLOW = sum_up("a <b> & c", [Sample(took=0.4, first_token=0.2, speed=12.0, agreement=0.5)] * 4, elapsed=1.6)
SILENT = sum_up("gone", [Sample(took=1.0, error="all_providers_failed")] * 3, elapsed=3.0)
ROWS = [FAST, SLOW, SILENT]


def test_the_table_lines_up_and_leaves_out_what_nobody_measured() -> None:
    assert table([FAST, SLOW]) == [
        "           p50  p95  p99  first token p50  p95  tok/s  answers/s  errors  agreement",
        "phi3       100  100  100               50   50              10.0      0%",
        "a <b> & c  400  400  400              200  200     12        2.5      0%       0.50",
    ]
    assert table([SILENT]) == ["      answers/s  errors", "gone        0.0    100%"]


def test_bars_share_a_scale_from_zero() -> None:
    """The longest is as wide as there is room; a quarter of the time is a quarter of the bar."""
    assert bars(ROWS, width=16) == [
        "phi3       ████ 100 ms",
        "a <b> & c  ████████████████ 400 ms",
        "gone       no answer",
        "           █ to p50  ▓ to p95  ░ to p99",
    ]


def test_svg_is_xml_with_a_bar_to_scale() -> None:
    """Names from a configuration are text in it, not markup."""
    root = ET.fromstring(svg(picture("ask", ROWS)))

    texts = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"ask", "phi3", "a <b> & c", "no answer", "100 / 100 / 100 ms"} <= set(texts)
    widths = [float(node.get("width", "0").rstrip("%")) for node in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert max(widths[4:]) == 4 * min(widths[4:])


def test_png_is_a_whole_png_and_shows_ink() -> None:
    """Each chunk has its length and checksum; each row of pixels is there."""
    data = png(picture("ask: it, in ms", ROWS))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"

    chunks, rest = {}, data[8:]
    while rest:
        (length,), kind = struct.unpack(">I", rest[:4]), rest[4:8]
        body, (checksum,) = rest[8 : 8 + length], struct.unpack(">I", rest[8 + length : 12 + length])
        assert checksum == zlib.crc32(kind + body)
        chunks[kind], rest = body, rest[12 + length :]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]

    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert form == [8, 2, 0, 0, 0]
    assert len(pixels) == height * (1 + 3 * width)
    assert bytes.fromhex("2f5d8a") * 50 in pixels  # a bar
    assert pixels.count(bytes.fromhex("222222")) > 100  # letters

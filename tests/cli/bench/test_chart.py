"""The figures as table and bars on the terminal, and as a picture."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from llm_pool.cli.bench.chart import bars, table
from llm_pool.cli.bench.figures import Sample, sum_up
from llm_pool.cli.bench.picture import picture
from llm_pool.cli.drawing import drawn

if TYPE_CHECKING:
    from rich.console import RenderableType

FAST = sum_up("phi3", [Sample(took=0.1, first_token=0.05)] * 99 + [Sample(took=0.4, first_token=0.05)], elapsed=10.0)
SLOW = sum_up("a <b> & $c$", [Sample(took=0.4, first_token=0.2, speed=12.0, agreement=0.5)] * 4, elapsed=1.6)
SILENT = sum_up("gone", [Sample(took=1.0, error="all_providers_failed")] * 3, elapsed=3.0)
ROWS = [FAST, SLOW, SILENT]


def lines(renderable: RenderableType, width: int = 80) -> list[str]:
    return drawn(renderable, color=False, width=width).splitlines()


def test_the_table_lines_up_fits_and_leaves_out_what_nobody_measured() -> None:
    """In 80 columns the longest heading takes two lines; no figure is cut."""
    shown = lines(table([FAST, SLOW]), 120)
    assert [line.split() for line in shown[1:]] == [
        ["phi3", "100", "100", "100", "50", "50", "10.0", "0%"],
        ["a", "<b>", "&", "$c$", "400", "400", "400", "200", "200", "12", "2.5", "0%", "0.50"],
    ]
    narrow = lines(table([FAST, SLOW]))
    assert max(map(len, narrow)) <= 80
    assert narrow[-1].split() == shown[-1].split()
    assert [line.split() for line in lines(table([SILENT]))] == [["answers/s", "errors"], ["gone", "0.0", "100%"]]


def test_bars_share_a_scale_from_zero() -> None:
    """The longest is as wide as there is room; a quarter of the time is a quarter of the bar."""
    assert lines(bars(ROWS, width=16)) == [
        "",
        "phi3         ████ 100 ms",
        "a <b> & $c$  ████████████████ 400 ms",
        "gone         no answer",
        "█ to p50  ▓ to p95  ░ to p99",
    ]


def test_svg_is_xml_with_the_names_as_text() -> None:
    """Names from a configuration are neither markup nor formulas."""
    root = ET.fromstring(picture("ask $1$", ROWS, "svg"))

    texts = {"".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"ask $1$", "phi3", "a <b> & $c$", "no answer", "100 / 100 / 100 ms", "to p95"} <= texts


def test_png_is_a_png_that_grows_with_its_rows() -> None:
    small, large = picture("ask", ROWS, "png"), picture("ask", ROWS * 3, "png")

    assert small[:8] == b"\x89PNG\r\n\x1a\n"
    (width, low), (same, high) = (struct.unpack(">II", data[16:24]) for data in (small, large))
    assert width == same > 900
    assert high > low + 200

"""The figures as a picture, drawn by matplotlib (the extra ``plots``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from llm_pool.cli.bench.chart import milliseconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.bench.figures import Figures

_COLORS = {"p99": "#cfdfee", "p95": "#7fa8cf", "p50": "#2f5d8a"}
"""The longest first: each is drawn over those before it."""


def picture(title: str, rows: Sequence[Figures], format_name: str) -> bytes:
    """A bar per subject with its percentiles; *format_name* is ``svg`` or ``png``."""
    figure = Figure(figsize=(9.2, 1.6 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    names = [one.subject.replace("$", r"\$") for one in rows]  # a dollar would begin a formula
    places = range(len(rows))
    for name, color in _COLORS.items():
        ends = [0.0 if one.took is None else getattr(one.took, name) * 1000 for one in rows]
        axes.barh(places, ends, height=0.6, color=color, label=f"to {name}")
    for place, one in zip(places, rows, strict=True):
        said = " / ".join(milliseconds(one.took, name) for name in ("p50", "p95", "p99"))
        end = 0.0 if one.took is None else one.took.p99 * 1000
        axes.annotate(
            f"{said} ms" if one.took is not None else "no answer",
            (end, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color="#595959",
        )
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("milliseconds")
    axes.set_title(title.replace("$", r"\$"), loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="lower right", frameon=False)
    written = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none"}):  # text stays text
        figure.savefig(written, format=format_name, dpi=120)
    return written.getvalue()

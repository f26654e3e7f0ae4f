"""The report as one HTML file without scripts, pictures or anything from elsewhere: its charts are styled boxes."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from llm_pool.evaluation.report import COLUMNS, METHODS, cells, facts, grader_sentence, sections, share, title, verdict

if TYPE_CHECKING:
    from llm_pool.evaluation.evaluate import Evaluation, Section
    from llm_pool.evaluation.figures import Figures
    from llm_pool.evaluation.intervals import Interval

_STYLE: Final = """\
:root { color-scheme: light dark; --line: #8884; --mark: #2563eb; --model: #8b8b8b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.25rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
.verdict { font-size: 1.1rem; font-weight: 600; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } figcaption { font-size: .85rem; opacity: .75; }
.row { display: grid; grid-template-columns: 9rem 1fr; gap: .6rem; align-items: center; font-size: .9rem; }
.row > span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.track { position: relative; height: 1.3rem; border-left: 1px solid var(--line); border-right: 1px solid var(--line);
  background: repeating-linear-gradient(to right, var(--line) 0 1px, transparent 1px 25%); }
.span, .point { position: absolute; top: .35rem; height: .6rem; background: var(--mark); }
.span { opacity: .35; border-radius: .3rem; } .point { width: .25rem; margin-left: -.125rem; }
.model .span, .model .point { background: var(--model); }
.zero { position: absolute; top: 0; bottom: 0; width: 0; border-left: 2px solid currentColor; opacity: .6; }
.scale { display: flex; justify-content: space-between; font-size: .8rem; opacity: .75; }
ul { font-size: .9rem; }"""


def as_html(evaluation: Evaluation) -> str:
    """The whole report; every text in it is escaped."""
    judge = grader_sentence(evaluation.judging.judge, evaluation.grader)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>Which model, which strategy</title><style>\n{_STYLE}\n</style></head><body>",
            "<h1>Which model, which strategy</h1>",
            *(_section(section) for section in sections(evaluation)),
            f"<p>{escape(judge)}</p>" if judge else "",
            "<h2>How it was measured</h2>",
            "<ul>",
            *(f"<li>{escape(method)}</li>" for method in METHODS),
            "</ul></body></html>\n",
        ]
    )


def _section(section: Section) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in COLUMNS)
    body = "".join(
        f"<tr><td>{escape(first)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in rest)}</tr>"
        for first, *rest in map(cells, section.rows)
    )
    return "\n".join(
        [
            f"<section><h2>{escape(title(section))}</h2>",
            f'<p class="verdict">{escape(verdict(section))}</p>',
            f"<p>{escape(' '.join(facts(section)))}</p>",
            _shares(section.rows),
            _differences(section.rows),
            f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>',
        ]
    )


def _shares(rows: tuple[Figures, ...]) -> str:
    known = [(row, row.right) for row in rows if row.right is not None]
    if not known:
        return ""
    drawn = "".join(_bar(row, interval, 0.0, 1.0) for row, interval in known)
    return _chart(
        drawn, ("0", "25", "50", "75", "100"), "Right, in percent of the questions, with 95 percent intervals"
    )


def _differences(rows: tuple[Figures, ...]) -> str:
    known = [(row, row.difference) for row in rows if row.difference is not None]
    if not known:
        return ""
    reach = max(0.02, *(abs(end) for _, interval in known for end in (interval.low, interval.high)))
    reach = -(-reach // 0.02) * 0.02
    drawn = "".join(_bar(row, interval, -reach, reach) for row, interval in known)
    ends = f"{-reach * 100:+.0f}", f"{-reach * 50:+.0f}", "0", f"{reach * 50:+.0f}", f"{reach * 100:+.0f}"
    return _chart(drawn, ends, "Points more than the best single model, with 95 percent intervals")


def _chart(drawn: str, scale: tuple[str, ...], caption: str) -> str:
    marks = "".join(f"<span>{escape(mark)}</span>" for mark in scale)
    return (
        f'<figure>{drawn}<div class="row"><span></span><div class="scale">{marks}</div></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _bar(row: Figures, interval: Interval, low: float, high: float) -> str:
    """A name, the interval as a band and the value as a mark on a track from *low* to *high*."""

    def place(value: float) -> float:
        return round(100 * min(1.0, max(0.0, (value - low) / (high - low))), 2)

    left, right = place(interval.low), place(interval.high)
    zero = f'<i class="zero" style="left:{place(0.0)}%"></i>' if low < 0 else ""
    return (
        f'<div class="row {row.kind}"><span>{escape(row.name)}</span>'
        f'<div class="track" role="img" aria-label="{escape(share(interval), quote=True)}">{zero}'
        f'<i class="span" style="left:{left}%;width:{round(right - left, 2)}%"></i>'
        f'<i class="point" style="left:{place(interval.value)}%"></i></div></div>'
    )

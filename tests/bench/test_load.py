"""What the benches of the daemon's cost share: reading what the kernel and wrk say, ratios and verdicts."""

from __future__ import annotations

import json
import os

import pytest

from bench.load.figures import Spread, Verdict, page, table_of
from bench.load.nginx import PIECES, completion, sse
from bench.load.processes import TICK, cpu_of, read_stat, rss_of, tree
from bench.load.wrk import Report, parse

WRK = """Running 2s test @ http://127.0.0.1:1/v1/infer
  1 threads and 16 connections
Requests/sec:    812.30
REPORT {"requests":1625,"microseconds":2000500,"bytes":100,"refused":25,"broken":1,"p50":1200.0,"p99":9e3,"longest":3e4}
"""


def test_the_name_of_a_process_is_not_taken_for_fields() -> None:
    """A name may hold spaces and brackets; times of children that ended count."""
    times = "100 50 20 30"
    stat = read_stat(f"4711 (a (b) c) S 17 4711 4711 0 -1 4194304 1 2 3 4 {times} 20 0 1 0 12345 1 2")

    assert stat.parent == 17
    assert stat.cpu == pytest.approx(200 / TICK)


def test_the_tree_holds_this_process_and_what_it_costs() -> None:
    """Those of the kernel's own account."""
    used = os.times()

    assert os.getpid() in tree(os.getpid())
    assert tree(os.getpid()).keys() <= tree(os.getppid()).keys()
    assert cpu_of(os.getpid()) >= used.user + used.system - 2 / TICK
    assert rss_of(os.getpid()) > 10


def test_wrk_tells_what_it_saw() -> None:
    """Seconds and counts, out of what else it prints."""
    assert parse(WRK) == Report(1625, 2.0005, 100, 25, 1, 0.0012, 0.009, 0.03)
    assert parse(WRK).answered == 1600


def test_wrk_that_says_nothing_is_no_report() -> None:
    """What it printed instead is in the error."""
    with pytest.raises(ValueError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_the_median_round_counts() -> None:
    """With the lowest and the highest beside it."""
    assert Spread.of([3.0, 1.0, 1234.0]).told() == "3 (1..1,234)"


@pytest.mark.parametrize(
    ("verdict", "broken", "word"),
    [
        (Verdict("a", 1.5, 2.0, 1.0), False, "must"),
        (Verdict("a", 1.0, 2.0, 1.0), False, "aim"),
        (Verdict("a", 2.0, 2.0), False, "must"),
        (Verdict("a", 2.01, 2.0, 1.0), True, "**broken**"),
        (Verdict("a", None, 2.0, 1.0), False, "?"),
        (Verdict("a", 79.0, 80, 120, at_least=True), True, "**broken**"),
        (Verdict("a", 80.0, 80, 120, at_least=True), False, "must"),
        (Verdict("a", 121.0, 80, 120, at_least=True), False, "aim"),
    ],
)
def test_a_figure_meets_its_bound_or_breaks_it(verdict: Verdict, word: str, *, broken: bool) -> None:
    """What could not be measured breaks nothing, and says that it is not known."""
    assert verdict.is_broken is broken
    assert table_of([verdict])[-1].split(" | ")[-1] == f"{word} |"


def test_a_page_says_when_where_and_how() -> None:
    """Then its blocks, apart from each other."""
    lines = page("Costs", "python -m bench.costs", "0.10", [["| a |", "|---|"], ["a note"]]).splitlines()

    assert lines[0] == "# Costs"
    assert "vCPU" in lines[2]
    assert "`python -m bench.costs`" in lines[2]
    assert lines[4:] == ["| a |", "|---|", "", "a note"]


def test_upstream_says_the_same_streamed_or_not() -> None:
    """Every piece in its own event, with the end and the tokens, as the same JSON says it at once."""
    whole = json.loads(completion(PIECES))
    *chunks, end = [event.decode().removeprefix("data: ").removesuffix("\n\n") for event in sse(PIECES)]
    parsed = [json.loads(chunk) for chunk in chunks]

    assert end == "[DONE]"
    assert [one["choices"][0]["delta"]["content"] for one in parsed[:-1]] == list(PIECES)
    assert "".join(PIECES) == whole["choices"][0]["message"]["content"]
    assert parsed[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"] == "stop"
    assert parsed[-1]["usage"] == whole["usage"]

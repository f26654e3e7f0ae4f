"""The table of the bundled models: what it shows, and that the README shows the one that was measured."""

from __future__ import annotations

from bench.pocket import BLOCK, README, RESULT, declined_table, foreign, table
from llm_pool.core.messages import StrategyName
from llm_pool.providers.gguf import BUNDLED
from tools.pocket.check import Report
from tools.pocket.measures import MEASURES


def test_the_best_of_a_row_stands_out() -> None:
    """Figures as they are printed decide; measures for the trainer's eyes are left out."""
    good = Report("judge", 1.0, {"picks the best": 0.904, "by word": 1.0}, [0.02, 0.04, 0.03], 1.0, ("", ""))
    poor = Report("judge", 0.5, {"picks the best": 0.8, "by word": 1.0}, [0.05], 2.25, ("", ""))

    rows = table({"judge": {"a": good, "b": poor}}, ["a", "b"]).splitlines()

    assert rows[0] == "| task | measure | a | b |"
    assert rows[2:] == [
        "| judge | picks the best | **0.90** | 0.80 |",
        "| the worst task | valid by schema | 100% | 50% |",
        "| all | calls for an answer | 1.0 | 2.2 |",
        "| all | median time, ms | 30 | 50 |",
    ]


def test_the_readme_has_the_table_that_was_measured() -> None:
    """Word for word, with a column for every bundled model and every strategy."""
    shown = BLOCK.search(README.read_text(encoding="utf-8"))
    assert shown is not None
    head, *rows = shown[2].splitlines()
    models = sorted(path.stem for path in BUNDLED.glob("*.gguf"))

    assert head.strip("| ").split(" | ")[2:] == [*models, *StrategyName]
    assert len(rows) > len(MEASURES)
    assert shown[2] in RESULT.read_text(encoding="utf-8")


def test_the_shares_of_what_is_declined_are_those_of_today() -> None:
    """At least 150 different foreign inputs, and the table as the shipped words make it."""
    assert len({prompt for prompts in foreign().values() for prompt in prompts}) >= 150
    assert set(foreign()) == set(MEASURES)
    assert declined_table(300) in RESULT.read_text(encoding="utf-8")

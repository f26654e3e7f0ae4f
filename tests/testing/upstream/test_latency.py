from __future__ import annotations

from random import Random
from statistics import mean, median
from typing import TYPE_CHECKING

import pytest

from llm_pool.testing.upstream.latency import parse

if TYPE_CHECKING:
    from pathlib import Path


def draws(spec: str, count: int = 4000) -> list[float]:
    rng, distribution = Random(7), parse(spec)
    return [distribution(rng) for _ in range(count)]


def test_a_constant_is_constant() -> None:
    """No draw differs."""
    assert set(draws("const:0.2", 10)) == {0.2}


def test_uniform_stays_between_its_ends() -> None:
    """And fills the space."""
    seconds = draws("uniform:0.1,0.3")

    assert min(seconds) >= 0.1
    assert max(seconds) <= 0.3
    assert mean(seconds) == pytest.approx(0.2, abs=0.01)


def test_exponential_and_lognormal_have_the_middle_they_name() -> None:
    """The mean of one, the median of the other."""
    assert mean(draws("exp:0.2")) == pytest.approx(0.2, rel=0.1)
    assert median(draws("lognormal:0,0.5")) == pytest.approx(1.0, rel=0.1)


def test_a_heavy_tail_is_heavy_for_the_share_it_names() -> None:
    """Five percent of the draws take five times as long."""
    seconds = draws("heavy:0.1,0.05,5")

    assert set(seconds) == {0.1, 0.5}
    assert seconds.count(0.5) / len(seconds) == pytest.approx(0.05, abs=0.015)


def test_a_file_gives_its_own_numbers(tmp_path: Path) -> None:
    """Measured times can be played again."""
    (tmp_path / "times").write_text("0.1\n0.4\n")

    assert set(draws(f"file:{tmp_path / 'times'}", 50)) == {0.1, 0.4}


@pytest.mark.parametrize("spec", ["", "gauss:1,2", "const", "const:x", "const:-1", "heavy:0.1,0.05", "uniform:1"])
def test_a_wrong_spec_is_answered_with_the_list(spec: str) -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(ValueError, match="expected one of") as caught:
        parse(spec)

    assert "heavy:S,SHARE,K" in str(caught.value)

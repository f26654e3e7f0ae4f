"""R4: a storm of cancels leaves no residue. ``bench/storm.py`` runs the full two thousand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

BENCH = Path(__file__).parents[2] / "bench" / "storm.py"


@pytest.mark.parametrize("seed", [11, 12])
async def test_a_storm_leaves_nothing(seed: int) -> None:
    """Three hundred cancels over four providers; then twenty of twenty within a second, and all counts as before."""
    went = await runpy.run_path(str(BENCH))["storm"](300, seed)

    assert went.cancelled >= 300
    assert len(went.seen) > 50
    assert len(went.clean) == 20
    assert went.took <= 1.0
    assert went.after[:4] == went.before[:4]
    assert went.calm

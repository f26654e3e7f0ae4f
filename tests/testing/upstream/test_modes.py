from __future__ import annotations

from random import Random

import pytest

from llm_pool.testing.upstream.modes import DESCRIPTIONS, OK, Modes, parse


def played(modes: Modes, model: str, count: int) -> list[str]:
    rng = Random(3)
    return [str(modes.next(model, rng)) for _ in range(count)]


def test_the_last_of_several_modes_stands() -> None:
    """One request each, then nothing changes any more."""
    modes = Modes()

    modes.set("phi3", parse("error:503"), parse("hang"), OK, now=0.0)

    assert played(modes, "phi3", 4) == ["error:503", "hang", "ok", "ok"]


def test_a_star_speaks_for_every_model_and_no_path() -> None:
    """It overrides what models had; paths are not models."""
    modes = Modes()
    modes.set("phi3", parse("hang"), now=0.0)
    modes.set("/api/tags", parse("error"), now=0.0)

    modes.set("*", parse("busy:2"), now=0.0)

    assert played(modes, "phi3", 1) == played(modes, "gemma2", 1) == ["busy:2"]
    assert played(modes, "/api/tags", 1) == ["error:500"]
    assert played(modes, "/api/ps", 1) == ["ok"]


def test_flaky_fails_its_share() -> None:
    """And is decided for each request."""
    modes = Modes()
    modes.set("phi3", parse("flaky:0.3"), now=0.0)

    seen = played(modes, "phi3", 1000)

    assert set(seen) == {"ok", "error:500"}
    assert seen.count("error:500") == pytest.approx(300, abs=50)


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_number_is_optional(name: str) -> None:
    """Each mode has a number of its own, or takes the one given."""
    assert parse(name).value == DESCRIPTIONS[name][0]
    assert parse(f"{name}:7").value == 7


def test_a_wrong_mode_is_answered_with_the_list() -> None:
    """Both kinds of mistake."""
    with pytest.raises(ValueError, match="expected ok, error, flaky"):
        parse("eror:500")
    with pytest.raises(ValueError, match="expected a number"):
        parse("error:many")

"""``llm-pool bench``, against a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_pool.cli.bench.subjects import INPUTS, subjects
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.main import run
from llm_pool.config import load
from llm_pool.core.messages import StrategyName
from llm_pool.tasks import load_task, prepare

Configure = Callable[..., Path]


@pytest.mark.usefixtures("config")
def test_each_provider_and_the_pool_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The providers alone, then the task's own strategy; JSON has every figure."""
    assert run(["bench", "-n", "3", "--json"]) == ExitCode.OK

    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [one["subject"] for one in report["subjects"]] == ["phi3", "llama31", "gemma2", "pool FASTEST"]
    for one in report["subjects"]:
        assert (one["requests"], one["error_share"], one["errors"]) == (3, 0.0, {})
        assert 5 < one["ttft_ms"]["p50"] <= one["latency_ms"]["p50"] <= one["latency_ms"]["p99"]
        assert one["tokens_per_second"] > 0
    assert err.splitlines() == [f"{name} ({i} of 4) …" for i, name in enumerate(_names(report), start=1)]


@pytest.mark.usefixtures("config")
def test_a_strategy_that_asks_many_shows_their_agreement(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--task", "judge", "-s", "voting", "-n", "2", "--json"]) == ExitCode.OK

    (voting,) = json.loads(capsys.readouterr().out)["subjects"]
    assert (voting["subject"], voting["agreement"]) == ("pool VOTING", 1.0)


@pytest.mark.usefixtures("config")
def test_a_threshold_that_fails_is_named_and_exits_99(capsys: pytest.CaptureFixture[str]) -> None:
    """The one that failed, for whom, and what was measured instead."""
    rules = ["--threshold", "errors<1%", "--threshold", "p95<1ms"]
    assert run(["bench", "--provider", "phi3", "-n", "2", "--rate", "50", *rules]) == ExitCode.THRESHOLD

    out, err = capsys.readouterr()
    assert out.startswith("ask: milliseconds to the whole answer, 2 requests each, 50 a second\n")
    (line,) = [line for line in err.splitlines() if line.startswith("threshold:")]
    assert line.startswith("threshold: phi3: p95<1ms does not hold: ")


@pytest.mark.usefixtures("config")
def test_exports_are_written_in_the_format_of_their_name(tmp_path: Path) -> None:
    names = ["a.svg", "a.png", "a.json"]
    words = [word for name in names for word in ("--export", str(tmp_path / name))]

    assert run(["bench", "--provider", "phi3", "-n", "1", "-q", *words]) == ExitCode.OK

    starts = [(tmp_path / name).read_bytes()[:4] for name in names]
    assert starts == [b"<?xm", b"\x89PNG", b"{\n  "]


def test_a_pool_that_never_answers_exits_69(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    """Its errors are counted by name."""
    configure("http://127.0.0.1:1", "phi3:mini")

    assert run(["bench", "-n", "2", "--provider", "phi3"]) == ExitCode.UNAVAILABLE
    assert (
        "phi3: 1 all providers failed, 1 all providers unavailable\n" in capsys.readouterr().out
    )  # the breaker is open


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--provider", "phi"], "--provider: there is no provider 'phi'"),
        (["--strategy", "votin"], "strategy: expected FASTEST"),
        (["--rate", "0"], "--rate: expected more than 0, got '0'"),
        (["--threshold", "p95<9"], "--threshold: p95 takes 'ms' or 's', got 'p95<9'"),
        (["--export", "a.gif"], "--export: expected a name that ends in .svg, .png, .json, got 'a.gif'"),
        (["--export", "no/such/a.svg"], "--export: there is no folder no/such"),
        (["--task", "nope"], "prompt: there is none, and task 'nope' has no example of its own"),
    ],
)
@pytest.mark.usefixtures("config")
def test_nonsense_is_named_before_anything_is_asked(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", *words]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_a_provider_alone_serves_every_task(config: Path) -> None:
    """Even one that the configuration keeps for other tasks, or as a last resort."""
    (alone,) = subjects(load(config), "judge", ["gemma2"], [])

    assert [provider.name for provider in alone.config.active_providers] == ["gemma2"]
    assert alone.config.active_providers[0].tasks == ()
    assert alone.strategy is StrategyName.FASTEST


def test_all_means_the_five_strategies(config: Path) -> None:
    found = subjects(load(config), "judge", [], ["all"])
    assert [subject.name for subject in found] == [f"pool {name.value}" for name in StrategyName]


@pytest.mark.parametrize("task", sorted(INPUTS))
def test_the_example_of_each_task_is_an_input_of_it(task: str, config: Path) -> None:
    """Checked against the input schema of its prompt file."""
    settings = load(config)
    prepare(load_task(task, settings.prompt_folders, settings.prompt_files), INPUTS[task])


def _names(report: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["subject"] for one in report["subjects"]]

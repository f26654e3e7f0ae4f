"""The bundled trio as a pool: real inference by llama.cpp, each model in a process of its own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from bench.pocket import README
from llm_pool.cli import infer
from llm_pool.cli.bench.subjects import INPUTS
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.main import run
from llm_pool.core.messages import Query, StrategyName
from llm_pool.providers.gguf import BUNDLED
from tools.pocket.check import ask, check, configured, inputs, is_right, pool_of
from tools.pocket.oracle import TASKS

if TYPE_CHECKING:
    from pathlib import Path

    from llm_pool.core.messages import Answer
    from llm_pool.engine.composition import App
    from tools.pocket.oracle import Example

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.real_loop

TRIO = {path.stem: path for path in sorted(BUNDLED.glob("pocket-*.gguf"))}
PLAIN = '{"candidates": [{"id": "a", "text": "blurry jazz clips"}, {"id": "b", "text": "excellent jazz clips"}]}'


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_POOL_STATE", str(tmp_path))


async def divided(app: App, task: str, count: int) -> list[tuple[Example, Answer]]:
    """Up to *count* held-out inputs of *task* on which the models did not agree, with what VOTING made of them."""
    found = []
    for number, one in enumerate(inputs(count=60, seed=3)[task]):
        answer = await ask(app, one, strategy=StrategyName.VOTING, request_id=f"r{number}")
        if answer is not None and len(answer.decision.clusters) > 1:
            found.append((one, answer))
        if len(found) == count:
            break
    return found


@pytest.mark.anyio
async def test_the_three_are_small_and_load_at_once() -> None:
    """At most 8 MB each and 20 MB together, all loaded when the pool is warm."""
    sizes = [path.stat().st_size for path in TRIO.values()]

    async with pool_of(TRIO) as app:
        states = await app.states()

    assert len(sizes) == 3
    assert max(sizes) <= 8e6
    assert sum(sizes) <= 20e6
    assert {state.condition for state in states} == {"healthy"}


@pytest.mark.anyio
@pytest.mark.parametrize("strategy", StrategyName)
async def test_every_strategy_finds_the_excellent_one(strategy: StrategyName) -> None:
    """An easy choice, decided by the strategy that was asked for."""
    async with pool_of(TRIO) as app:
        answer = await app.orchestrator.infer(Query(prompt=PLAIN, task="judge", strategy=strategy))

    assert (answer.json["winner_id"], answer.strategy_used, answer.degraded) == ("b", strategy, False)


@pytest.mark.anyio
async def test_two_that_agree_decide_without_the_third() -> None:
    """VOTING stops early: on a machine that takes one call at a time, the third is not asked at all."""
    async with pool_of(TRIO, slots=1) as app:
        answer = await app.orchestrator.infer(Query(prompt=PLAIN, task="judge", strategy=StrategyName.VOTING))

    assert [attempt.outcome for attempt in answer.decision.attempts] == ["ok", "ok"]
    assert len(answer.decision.clusters) == 1


@pytest.mark.anyio
async def test_a_judge_tells_in_one_token_how_sure_it_is() -> None:
    """Where the models differ, one of them reads the candidates in short words and gives a letter with logprobs."""
    async with pool_of(TRIO) as app:
        [(one, _)] = await divided(app, "judge", 1)
        answer = await ask(app, one, strategy=StrategyName.JUDGE)

    assert answer is not None
    assert answer.strategy_used == StrategyName.JUDGE
    assert answer.decision.judge is not None
    [(judge, words)] = answer.decision.judge.items()
    verdicts = [attempt for attempt in answer.decision.attempts if attempt.why == "judge"]
    assert judge in TRIO
    assert 0 < max(words.values()) < 1
    assert {attempt.usage.completion_tokens for attempt in verdicts} == {1}
    assert all(attempt.logprobs for attempt in verdicts)


@pytest.mark.anyio
async def test_feedback_moves_trust_between_the_models() -> None:
    """Where they differed, who was right gains over who was wrong."""
    async with pool_of(TRIO) as app:
        assert app.learning is not None
        for one, answer in await divided(app, "judge", 5):
            await app.learning.feedback(answer.request_id, "", good=is_right(one, answer))
        known = [one for one in app.pool_state.trust.trust_records() if one.expert.removeprefix("provider:") in TRIO]

    assert {(one.task, one.expert) for one in known} == {("judge", f"provider:{name}") for name in TRIO}
    assert len({one.wins - one.losses for one in known}) > 1


def shown() -> set[tuple[str, str]]:
    """Task and input of each example that a reader may type first."""
    pages = [README, *(README.parent / "docs").glob("*.md")]
    text = "\n".join([*(page.read_text(encoding="utf-8") for page in pages), *infer.EXAMPLES.splitlines()])
    found = re.findall(r'--task (\w+) "([^"]+)"', text) + re.findall(r'"task": ?"(\w+)", ?"prompt": ?"([^"]+)"', text)
    piped = re.findall(r"echo '(\{.+?\})' \|\s+llm-pool infer --task (\w+)", text)
    return {one for one in [*found, *((task, asked) for asked, task in piped), *INPUTS.items()] if one[0] in TASKS}


@pytest.mark.anyio
async def test_what_a_reader_types_first_is_answered() -> None:
    """The examples of the README, the pages and ``infer --help``, and what ``bench`` asks."""
    async with pool_of(TRIO) as app:
        answers = {one: await app.orchestrator.infer(Query(prompt=one[1], task=one[0])) for one in shown()}

    assert {task for task, _ in answers} == set(TASKS)
    assert {task for task, prompt in answers if prompt != INPUTS[task]} >= {"judge"}
    assert {a.json["winner_id"] for (task, _), a in answers.items() if task == "judge"} == {"b"}


def test_bench_measures_the_three_and_the_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``llm-pool bench`` on the trio, as a user would type it."""
    config = tmp_path / "llm-pool.toml"
    config.write_text(configured(TRIO), encoding="utf-8")

    command = [
        "bench",
        "--task",
        "judge",
        "-s",
        "voting",
        *(f"--provider={name}" for name in TRIO),
        "-n",
        "3",
        "--json",
    ]
    assert run([*command, "--config", str(config)]) == ExitCode.OK

    measured = {one["subject"]: one for one in json.loads(capsys.readouterr().out)["subjects"]}
    assert set(measured) == {*TRIO, "pool VOTING"}
    assert {one["error_share"] for one in measured.values()} == {0.0}


LEAST = {
    "judge": ("picks the best", 0.8),
    "rerank_candidates": ("Kendall tau", 0.4),
    "recovery_plan": ("right playbook", 0.8),
}
"""Three standard errors of 30 inputs below ``bench/results/pocket.md``, and far above chance (0.37, 0, 0.07)."""


@pytest.mark.anyio
async def test_a_sample_of_held_out_inputs_is_answered_well() -> None:
    """The files are those that were measured."""
    async with pool_of(TRIO) as app:
        reports = {
            task: await check(app, examples, strategy=StrategyName.JUDGE)
            for task, examples in inputs(count=30, seed=5).items()
        }

    assert {report.valid for report in reports.values()} == {1.0}
    found = {task: reports[task].measures[measure] for task, (measure, _) in LEAST.items()}
    assert all(found[task] >= least for task, (_, least) in LEAST.items()), found

"""Every provider is asked once, on real sockets; what is on record is not asked again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llm_pool.core.errors import AllProvidersFailed, InvalidRequest
from llm_pool.evaluation.answers import Answers
from llm_pool.evaluation.questions import Question
from llm_pool.evaluation.recording import Asking, Recorder
from llm_pool.testing.upstream import ScriptedAnswer, Upstream
from tests.evaluation.conftest import SKILLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.config import Config
    from llm_pool.evaluation.answers import Line
    from tests.evaluation.conftest import Configure

MODELS = [f"{name}:1b" for name in SKILLS]
QUESTIONS = [Question(id=f"q{number}", prompt=f"question {number}") for number in range(4)]


class Run:
    """One run of the recorder, and what came of it."""

    def __init__(self, answers: Answers, recorder: Recorder, lines: list[Line], upstream: Upstream) -> None:
        self.answers, self.recorder, self.lines = answers, recorder, lines
        self.asked = [entry.model for entry in upstream.journal.entries if entry.model]


def run(
    configure: Configure,
    questions: Sequence[Question] = QUESTIONS,
    *,
    answers: Answers | None = None,
    modes: dict[str, str] | None = None,
    judge: bool = False,
    grader: str = "",
    more: str = "",
    **asking: object,
) -> Run:
    lines: list[Line] = []

    async def record() -> Run:
        known = answers or Answers()
        async with Upstream(MODELS, answer=_answer, slots=2) as up:
            for model, mode in (modes or {}).items():
                up.set_mode(model, mode)
            config = await asyncio.to_thread(configure, more, up.url)
            recorder = Recorder(Asking(config=config, **asking), known, lines.extend)  # type: ignore[arg-type]
            await recorder.ask(questions, lambda _done, _total: None)
            if judge:
                await recorder.judge(questions, lambda _done, _total: None)
            if grader:
                await recorder.grade(questions, grader, lambda _done, _total: None)
            return Run(known, recorder, lines, up)

    return asyncio.run(record())


def _answer(request: object) -> ScriptedAnswer | None:
    text = request.text  # type: ignore[attr-defined]
    if "One letter" in text:
        return ScriptedAnswer("B")
    if '"correct"' in text:
        return ScriptedAnswer('{"correct": true}')
    return None


def test_each_provider_is_asked_each_question_once(configure: Configure) -> None:
    found = run(configure)

    assert sorted(found.asked) == sorted(MODELS * 4)
    assert {q: set(by) for q, by in found.answers.answers.items()} == {q.id: set(SKILLS) for q in QUESTIONS}
    one = found.answers.of("q1")["small"]
    assert one.text.endswith("question 1")
    assert one.failure is None
    assert one.completion_tokens
    assert one.ttft is not None


def test_a_machine_with_one_slot_is_asked_model_by_model(configure: Configure) -> None:
    """So each is loaded once."""
    found = run(configure)

    assert found.asked == [model for model in MODELS for _ in range(4)]


def test_what_is_on_record_is_not_asked_again(configure: Configure) -> None:
    first = run(configure, QUESTIONS[:2])
    again = run(configure, QUESTIONS, answers=first.answers)

    assert len(again.asked) == 2 * len(MODELS)


def test_another_prompt_or_model_is_another_question(configure: Configure) -> None:
    first = run(configure)
    again = run(configure, answers=first.answers, more="[tasks.ask]\nmax_tokens = 5\n")

    assert len(again.asked) == 4 * len(MODELS)


def test_a_failure_is_kept_and_asked_again_on_request(configure: Configure) -> None:
    first = run(configure, modes={"large:1b": "error:500"})
    again = run(configure, answers=first.answers)
    retried = run(configure, answers=first.answers, retry_failed=True)

    failure = first.lines[-1].failure  # type: ignore[union-attr]
    assert failure is not None
    assert failure.kind == "failed"
    assert again.asked == []
    assert retried.asked == ["large:1b"] * 4
    assert retried.answers.of("q0")["large"].failure is None


def test_who_is_busy_is_missed_and_asked_the_next_time(configure: Configure) -> None:
    first = run(configure, modes={"large:1b": "error:503"})
    again = run(configure, answers=first.answers)

    assert first.recorder.missed["large"].questions == 4
    assert first.asked.count("large:1b") == 3  # then it is left alone
    assert again.asked == ["large:1b"] * 4


def test_who_is_slower_than_our_patience_is_cut(configure: Configure) -> None:
    found = run(configure, QUESTIONS[:1], modes={"large:1b": "hang"}, patience=0.5)

    failure = found.answers.of("q0")["large"].failure
    assert failure is not None
    assert failure.kind in {"timed_out", "out_of_time"}


def test_a_judge_is_heard_where_answers_differ(configure: Configure) -> None:
    found = run(configure, judge=True)
    again = run(configure, answers=found.answers, judge=True)

    verdicts = found.answers.verdicts["q0"]
    assert {verdict.text for verdict in verdicts} == {"B"}
    assert len(verdicts[0].candidates) == 3
    assert again.asked == []


def test_a_grader_says_of_each_answer_whether_it_is_right(configure: Configure) -> None:
    found = run(configure, QUESTIONS[:2], grader="large")
    again = run(configure, QUESTIONS[:2], answers=found.answers, grader="large")

    assert len(found.answers.grades) == 2 * len(MODELS)
    assert all(grade.right for grade in found.answers.grades.values())
    assert again.asked == []


def test_where_nobody_listens_the_error_says_so(configure: Configure) -> None:
    config: Config = configure()
    recorder = Recorder(Asking(config=config), Answers(), lambda _lines: None)

    with pytest.raises(AllProvidersFailed, match="nobody listens"):
        asyncio.run(recorder.ask(QUESTIONS, lambda _done, _total: None))


def test_a_full_disk_ends_it_as_what_it_is(configure: Configure) -> None:
    def full(_lines: object) -> None:
        raise OSError(28, "No space left on device")

    async def record() -> None:
        async with Upstream(MODELS) as up:
            config = await asyncio.to_thread(configure, "", up.url)
            await Recorder(Asking(config=config), Answers(), full).ask(QUESTIONS, lambda _done, _total: None)

    with pytest.raises(OSError, match="No space left"):
        asyncio.run(record())


def test_a_question_that_cannot_be_asked_is_named(configure: Configure) -> None:
    bad = Question(id="q9", prompt="no json", task="judge")

    with pytest.raises(InvalidRequest, match=r"question q9: prompt"):
        run(configure, [bad])

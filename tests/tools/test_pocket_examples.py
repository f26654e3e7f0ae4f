"""The pocket model's examples: what the generator asks and what the oracle answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from llm_pool.ensemble.verdict import judging_input
from llm_pool.providers.gguf import BUNDLED
from llm_pool.reading import read
from llm_pool.tasks import load_tasks, prepare
from llm_pool.tasks.files import judging_task
from llm_pool.tasks.rendering import render
from tools.pocket.hints import LABELS, hints
from tools.pocket.measures import MEASURES, kendall_tau
from tools.pocket.oracle import TASKS, example, examples, held_out, is_held_out

if TYPE_CHECKING:
    from llm_pool.core.messages import Task

PROMPTS = Path(__file__).parents[2] / "prompts"
CARD = Path(__file__).parents[2] / "docs" / "models" / "pocket.md"


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return load_tasks([PROMPTS])


@pytest.mark.parametrize("name", TASKS)
def test_the_oracle_answers_in_the_tasks_schema(tasks: dict[str, Task], name: str) -> None:
    """Inputs pass the input schema; answers fit the narrowed output schema as they are, keys in its order."""
    task, rng = tasks[name], Random(5)

    for _ in range(100):
        one = example(rng, name)
        ready = prepare(task, one.case.text)
        assert ready.schema is not None
        reading = read(one.answer, schema=ready.schema, kind=task.kind, field=task.field, ids=ready.ids)

        assert reading.repair == "strict"
        assert list(reading.value) == list(ready.schema["properties"])


@pytest.mark.parametrize("name", TASKS)
def test_training_shows_the_prompt_that_the_pool_sends(tasks: dict[str, Task], name: str) -> None:
    """What the model learns on is what the pocket variant of the prompt makes of the input."""
    one = example(Random(3), name)
    ready = prepare(tasks[name], one.case.text)

    sent = render(tasks[name].variants["pocket"], ready.input)

    assert not sent.system
    assert sent.user == one.prompt


def test_training_shows_a_judge_what_the_pool_shows_it(tasks: dict[str, Task]) -> None:
    """The contests are laid out as JUDGE lays out candidates, and the variant puts them into words."""
    one = example(Random(3), "judging")
    case = json.loads(one.case.text)
    answers = [candidate["text"] for candidate in case["candidates"]]

    sent = judging_input(case["question"], answers, range(len(answers)))

    assert render(judging_task([PROMPTS]).variants["pocket"], sent).user == one.prompt
    assert one.answer in [candidate["id"] for candidate in sent["candidates"]]


def test_a_contest_has_one_right_answer() -> None:
    """The others answer an input that was misread, and differ from it."""
    for seed in range(100):
        one = example(Random(seed), "judging")
        answers = [json.dumps(candidate["text"]) for candidate in json.loads(one.case.text)["candidates"]]

        assert len(set(answers)) == len(answers)
        assert 2 <= len(answers) <= 3


def test_hints_point_at_what_they_tell() -> None:
    """A merit at the end of its candidate; for overlap, each word with whether it was asked for."""
    for seed in range(60):
        one = example(Random(seed), "judge")
        told = [(one.prompt[: hint.place + 1], hint.label) for hint in hints(one)]
        merits = [label for before, label in told if before.endswith("}")]
        words = [(before, label) for before, label in told if not before.endswith("}")]

        ranked = sorted(zip(merits, one.case.candidates, strict=True), key=lambda pair: pair[0])
        assert [candidate.merit for _, candidate in ranked] == sorted(c.merit for c in one.case.candidates)
        assert bool(words) == (one.case.sign == "overlap")
        assert all(
            (before.rpartition(" ")[2].strip('"') in one.case.asked) == (label == LABELS - 1) for before, label in words
        )


@pytest.mark.parametrize("name", TASKS)
def test_the_oracle_measures_full_marks(name: str) -> None:
    """Each measure that is not the coin's share is 1 for the right answer."""
    for one in held_out(Random(8), name, 5):
        measured = MEASURES[name](one.case, json.loads(one.answer))

        assert {value for measure, value in measured.items() if measure != "by chance"} == {1.0}


def test_a_wrong_choice_measures_lower() -> None:
    """The judge's measure sees the loser, the ranking's the reversed order."""
    (one,) = held_out(Random(8), "rerank_candidates", 1)
    right = json.loads(one.answer)["ranking"]

    assert MEASURES["judge"](one.case, {"winner_id": right[-1]})["picks the best"] == 0
    assert MEASURES["rerank_candidates"](one.case, {"ranking": right[::-1]})["Kendall tau"] == -1
    assert kendall_tau(["a", "a"], ["a", "b"]) == -1


def test_the_card_names_the_files_that_are_shipped() -> None:
    """Each with its size and checksum."""
    card = CARD.read_text(encoding="utf-8")

    for path in sorted(BUNDLED.glob("*.gguf")):
        row = next(line for line in card.splitlines() if line.startswith("| SHA-256"))
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] in row, path.name
        assert f"{path.stat().st_size:,}" in card, path.name


def test_the_same_seed_gives_the_same_examples() -> None:
    """Training can be repeated."""
    assert list(examples(Random(4), 50)) == list(examples(Random(4), 50))
    assert list(examples(Random(4), 50)) != list(examples(Random(5), 50))


def test_training_never_sees_held_out_inputs() -> None:
    """The two are parted by the prompt alone, whatever the seed."""
    assert not any(map(is_held_out, examples(Random(6), 300)))
    assert all(map(is_held_out, held_out(Random(6), "expand_queries", 20)))


def test_early_choices_are_between_two() -> None:
    """With full ease every choice has two candidates; without, up to four."""
    easy, hard = (
        [len(one.case.candidates) for one in examples(Random(2), 300, ease=ease) if one.task == "judge"]
        for ease in (1, 0)
    )

    assert set(easy) == {2}
    assert set(hard) == {2, 3, 4}

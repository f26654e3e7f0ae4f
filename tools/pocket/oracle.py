"""Answers: what is right for each case, in the words and the key order of the output schemas of ``prompts/``."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.pocket import grammar
from tools.pocket.grammar import with_article, world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tools.pocket.grammar import Asset, Case, Choice, Incident, Question, Search, Visit

PROMPTS = Path(__file__).parents[2] / "prompts" / "pocket"

ONLY_SIX_TASKS = "This pocket model only knows the six tasks."


@dataclass(frozen=True)
class Example:
    """
    One question with its right answer.

    ``prompt`` is what the model is shown, ``case.text`` what a user gives; ``deciding`` is how many characters of the
    answer, from its start, are a choice that the rest only comments on; 0 if no part matters more than another.
    """

    task: str
    case: Case
    prompt: str
    answer: str
    deciding: int = 0


def expand_queries(case: Search) -> dict[str, Any]:
    """The terms as they are, related ones, what to leave out, and where to look."""
    w = world()
    return {
        "must_include": list(case.terms),
        "optional": [*w["genres"].get(case.genre, []), *([w["moods"][case.mood]] if case.mood else [])],
        "negatives": [case.unwanted, "low quality"] if case.unwanted else ["low quality"],
        "site_hints": w["sites"].get(case.medium, ["video platforms", "stock libraries"]),
    }


def enrich_metadata(case: Asset) -> dict[str, Any]:
    """A title, a line and tags, all from what was told."""
    what = with_article(f"{case.mood} {case.genre} {case.medium}")
    return {
        "title": f"{case.mood.capitalize()} {case.subject} in {case.place}",
        "one_liner": f"{what[0].upper()}{what[1:]} of {with_article(case.subject)} in {case.place} {case.time}.",
        "tags": [case.genre, case.mood, case.medium, case.subject, case.place],
    }


def recovery_plan(case: Incident) -> dict[str, Any]:
    """The playbook of the incident, applied to the service."""
    book = case.playbook
    actions = [f"{book['steps'][0]} on {case.service}", *book["steps"][1:]]
    return {
        "severity": world()["severities"][case.scope],
        "steps": [{"action": act, "guardrail": guard} for act, guard in zip(actions, book["guards"], strict=True)],
        "rollback": book["rollback"],
    }


def site_tactics(case: Visit) -> dict[str, Any]:
    """What stands before the goal, the goal, what stands after it; each with a way round."""
    goal = {"tactic": f"search for {case.goal}", "fallback": "browse the categories"}
    steps = [(met["before"], {"tactic": met["tactic"], "fallback": met["fallback"]}) for met in case.obstacles]
    before, after = ([step for early, step in steps if early is wanted] for wanted in (True, False))
    return {"tactics": [*before, goal, *after]}


def judge(case: Choice) -> dict[str, Any]:
    """The candidate with the most merit; the wider its lead, the surer."""
    first, second = sorted(case.candidates, key=lambda candidate: -candidate.merit)[:2]
    reasons = {
        "word": f"{first.praise} beats the others",
        "score": "highest score",
        "overlap": "fits the question best",
    }
    return {
        "winner_id": first.id,
        "confidence": {1: 0.7, 2: 0.8}.get(int(first.merit - second.merit), 0.9),
        "reason": reasons[case.sign],
    }


def rerank_candidates(case: Choice) -> dict[str, Any]:
    """All ids, the most merit first."""
    return {"ranking": [one.id for one in sorted(case.candidates, key=lambda candidate: -candidate.merit)]}


def ask(_: Question) -> str:
    """The same plain sentence for whatever lies outside."""
    return ONLY_SIX_TASKS


def judging(case: Contest) -> str:
    """The letter of the right answer, the one word that JUDGE asks for."""
    return case.right


@dataclass(frozen=True)
class Contest:
    """Answers to one question, of which that under the letter ``right`` is the oracle's."""

    text: str
    right: str


def contest(rng: Random, most: int) -> Contest:
    """An input of one of the six tasks with its right answer and one or two that answer a slightly different input."""
    task = rng.choice(TASKS)
    case = DRAWS[task](rng, most)
    answers = [ANSWERS[task](case)]
    while len(answers) < 2 or (len(answers) == 2 and rng.random() < 0.3):
        wrong = ANSWERS[task](_astray(rng, case, DRAWS[task](rng, most)))
        if wrong not in answers:
            answers.append(wrong)
    shown = rng.sample(answers, len(answers))
    candidates = [{"id": letter, "text": answer} for letter, answer in zip("ABC", shown, strict=False)]
    question = json.loads(case.text) if case.text.startswith("{") else case.text
    return Contest(json.dumps({"question": question, "candidates": candidates}), "ABC"[shown.index(answers[0])])


def _astray(rng: Random, case: Any, other: Any) -> Any:
    """*case* misread in one place: as it was in *other*, or with two candidates taken for each other."""
    if isinstance(case, grammar.Choice):
        one, two = rng.sample(case.candidates, 2)
        swapped = {one.id: two.merit, two.id: one.merit}
        misread = [replace(each, merit=swapped.get(each.id, each.merit)) for each in case.candidates]
        return replace(case, candidates=tuple(misread))
    field = rng.choice([name for name in vars(case) if name != "text"])
    return replace(case, **{field: getattr(other, field)})


DRAWS: dict[str, Callable[[Random, int], Case]] = {
    "expand_queries": lambda rng, _: grammar.search(rng),
    "enrich_metadata": lambda rng, _: grammar.asset(rng),
    "recovery_plan": lambda rng, _: grammar.incident(rng),
    "site_tactics": lambda rng, _: grammar.visit(rng),
    "judge": lambda rng, most: grammar.choice(rng, most=most, ask="question"),
    "rerank_candidates": lambda rng, most: grammar.choice(rng, most=most, ask="query"),
    "judging": contest,
    "ask": lambda rng, _: grammar.question(rng),
}
"""What is asked, by task; the number is how many candidates there may be."""

ANSWERS: dict[str, Callable[[Any], Any]] = {
    "expand_queries": expand_queries,
    "enrich_metadata": enrich_metadata,
    "recovery_plan": recovery_plan,
    "site_tactics": site_tactics,
    "judge": judge,
    "rerank_candidates": rerank_candidates,
    "judging": judging,
    "ask": ask,
}

TASKS = tuple(task for task in ANSWERS if task not in ("judging", "ask"))
"""The six."""

SHARES = {"judge": 2, "rerank_candidates": 2, "judging": 0.5, "ask": 0.1}
"""How often a task is practised; 1 where nothing is said. Choosing takes more practice than copying."""

DECIDED = {"judge": ',"confidence"', "expand_queries": ',"optional"'}
"""By task, where in an answer the part ends that all the rest follows from."""

MAX_CANDIDATES = 4


@cache
def template(task: str) -> str:
    """The short prompt of *task*; a free question stands for itself."""
    return "{{input}}" if task == "ask" else (PROMPTS / f"{task}.md").read_text(encoding="utf-8").strip()


def example(rng: Random, task: str, *, most: int = MAX_CANDIDATES) -> Example:
    """One drawn example of *task*, with at most *most* candidates."""
    case = DRAWS[task](rng, most)
    answer = ANSWERS[task](case)
    text = answer if isinstance(answer, str) else json.dumps(answer, separators=(",", ":"))
    deciding = text.index(DECIDED[task]) if task in DECIDED else 0
    return Example(task, case, template(task).replace("{{input}}", case.text), text, deciding)


def is_held_out(example: Example) -> bool:
    """Whether training never sees this input: one in twenty, by the checksum of the prompt."""
    return zlib.crc32(example.prompt.encode()) % 20 == 0


def examples(rng: Random, count: int, *, ease: float = 0.0) -> Iterator[Example]:
    """*count* examples to train on, all tasks mixed; of choices, a share of *ease* is between two candidates."""
    tasks = list(ANSWERS)
    shares = [SHARES.get(task, 1) for task in tasks]
    while count:
        (task,) = rng.choices(tasks, shares)
        one = example(rng, task, most=2 if rng.random() < ease else MAX_CANDIDATES)
        if not is_held_out(one):
            count -= 1
            yield one


def held_out(rng: Random, task: str, count: int) -> Iterator[Example]:
    """*count* examples of *task* that no training saw."""
    while count:
        one = example(rng, task)
        if is_held_out(one):
            count -= 1
            yield one

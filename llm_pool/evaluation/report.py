"""The evaluation as JSON, and as rows of text that Markdown, HTML and the terminal share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from llm_pool.evaluation.recommendation import MIN_LABELLED, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.messages import Json
    from llm_pool.evaluation.evaluate import Evaluation, Section
    from llm_pool.evaluation.figures import Figures
    from llm_pool.evaluation.graders import GraderAgreement
    from llm_pool.evaluation.intervals import Interval

COLUMNS: Final = ("", "right, %", "to the best model", "calls", "median s", "p95 s", "tokens/s", "agreement")
"""Of the table; the first one holds names."""

METHODS: Final = tuple(
    " ".join(said.split())
    for said in (
        "Shares right with Wilson's 95 percent interval (1927). No answer by the deadline counts as wrong.",
        """Differences, in points, are to the best single model on the same questions, by Newcombe's paired score
        interval (1998, method 10). Which model is best is decided on other questions (five folds), so that luck is
        not counted as skill.""",
        "Trust is learned on other questions than it is judged on, in the same folds.",
        """The sentence's interval holds for all rows together (Bonferroni), as its row was chosen among them. Sample
        sizes: Connor 1987, power 0.8.""",
        """Strategies are the pool's own, decided in virtual time on answers that were recorded once, under the
        configured deadlines, hedges and groups; one question after the other.""",
    )
)


def cells(row: Figures) -> tuple[str, ...]:
    """One row of the table, in the order of COLUMNS; empty where nothing is known."""
    return (
        row.name,
        "" if row.right is None else share(row.right),
        "" if row.difference is None else difference(row.difference),
        f"{row.calls:.2f}",
        f"{row.median:.2f}",
        f"{row.p95:.2f}",
        "" if row.tokens_per_second is None else f"{row.tokens_per_second:.0f}",
        "" if row.agreement is None else f"{row.agreement:.2f}",
    )


def share(interval: Interval) -> str:
    """``62.0 (58.1 to 65.8)``."""
    return f"{points(interval.value)} ({points(interval.low)} to {points(interval.high)})"


def difference(interval: Interval) -> str:
    """``+3.1 (1.0 to 5.2)``."""
    return f"{interval.value * 100:+.1f} ({points(interval.low)} to {points(interval.high)})"


def title(section: Section) -> str:
    """What a section is about."""
    return section.task or "All tasks"


def facts(section: Section) -> list[str]:
    """What a reader must know of the questions, in sentences."""
    said = [f"{section.questions:,} questions, {section.labelled:,} with a known right answer."]
    if section.left_out:
        said.append(f"{section.left_out:,} more are left out: some model has not answered them yet.")
    if section.best_models:
        total = sum(section.best_models.values())
        names = ", ".join(f"{name} ({count} of {total} folds)" for name, count in section.best_models.items())
        said.append(f"The best single model: {names}.")
    for row in section.rows:
        if row.coverage is not None:
            sure = "" if row.precision is None else f", and of these {share(row.precision)} percent are right"
            said.append(f"CONSENSUS: the models agree on {points(row.coverage)} percent of the questions{sure}.")
    return said


def verdict(section: Section) -> str:
    """The sentence at the end."""
    if section.recommendation is not None:
        return section.recommendation.sentence
    if section.labelled >= MIN_LABELLED:
        return "There is no strategy to recommend: all are switched off."
    if section.labelled:
        return f"{section.labelled} labelled questions are too few to say anything; {MIN_LABELLED} are the least."
    return "No right answer is known, so nothing can be said of who is right: give `expected`, or a `--judge`."


def grader_sentence(name: str, grader: GraderAgreement | None) -> str:
    """What the judge's grades are worth; empty where there is no judge."""
    if not name:
        return ""
    if grader is None:
        return f"{name} graded the answers; how far it can be relied on is not known: no such question has `expected`."
    kappa = (
        ""
        if grader.kappa is None
        else (f", Cohen's kappa {grader.kappa.value:.2f} ({grader.kappa.low:.2f} to {grader.kappa.high:.2f})")
    )
    alike = f"{share(grader.agreement)} percent alike{kappa}"
    return f"{name} graded {grader.answers:,} answers whose grade is known: {alike}."


def sections(evaluation: Evaluation) -> Sequence[Section]:
    """All tasks together, where there are several, then each."""
    return (*([evaluation.overall] if evaluation.overall is not None else []), *evaluation.sections)


def as_json(evaluation: Evaluation) -> dict[str, Json]:
    """All figures; shares are between 0 and 1, times in milliseconds."""
    grader = evaluation.grader
    return {
        "providers": list(evaluation.providers),
        "score": evaluation.judging.score,
        "judge": None
        if not evaluation.judging.judge
        else {
            "provider": evaluation.judging.judge,
            "answers": 0 if grader is None else grader.answers,
            "agreement": None if grader is None else _interval(grader.agreement),
            "kappa": None if grader is None else _interval(grader.kappa),
        },
        "sections": [_section(section) for section in sections(evaluation)],
        "methods": list(METHODS),
    }


def _section(section: Section) -> dict[str, Json]:
    found = section.recommendation
    return {
        "task": section.task or None,
        "questions": section.questions,
        "labelled": section.labelled,
        "left_out": section.left_out,
        "best_models": section.best_models,
        "rows": [_row(row) for row in section.rows],
        "verdict": verdict(section),
        "recommendation": None
        if found is None
        else {
            "use": found.subject,
            "kind": found.kind,
            "difference": _interval(found.difference),
            "is_certain": found.is_certain,
            "questions_needed": found.needed,
        },
    }


def _row(row: Figures) -> dict[str, Json]:
    return {
        "name": row.name,
        "kind": row.kind,
        "answered": row.answered,
        "right": _interval(row.right),
        "difference": _interval(row.difference),
        "calls": round(row.calls, 4),
        "median_ms": round(row.median * 1000, 1),
        "p95_ms": round(row.p95 * 1000, 1),
        "tokens_per_second": None if row.tokens_per_second is None else round(row.tokens_per_second, 1),
        "agreement": None if row.agreement is None else round(row.agreement, 4),
        "coverage": None if row.coverage is None else round(row.coverage, 4),
        "precision": _interval(row.precision),
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {"value": round(interval.value, 4), "low": round(interval.low, 4), "high": round(interval.high, 4)}

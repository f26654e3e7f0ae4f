"""``llm-pool eval``: a person's own questions decide which model and which strategy."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
from typer import Argument, BadParameter, Option

from llm_pool.cli.command import App, Context
from llm_pool.cli.completion import provider_names
from llm_pool.cli.console import OutputFailed
from llm_pool.cli.exit_codes import ExitCode
from llm_pool.cli.options import Task, read_config
from llm_pool.cli.progress import Progress
from llm_pool.cli.values import integer, more_than_zero, number, one_of, time_span
from llm_pool.core.errors import InvalidRequest, LlmPoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.cli.console import Console
    from llm_pool.config import Config
    from llm_pool.evaluation.answers import Answers
    from llm_pool.evaluation.evaluate import Evaluation, Section
    from llm_pool.evaluation.questions import Question, ScoreName
    from llm_pool.evaluation.recording import Missed

_REPORTS = (".md", ".html", ".json")
_SCORES = ("task", "exact", "contains", "regex", "choice")
_MOST = 20_000
_PATIENCE = 120.0


class EvalOptions(msgspec.Struct, frozen=True, kw_only=True):
    """
    What to evaluate.

    Attributes:
        questions: the file; None: those in *answers*.
        answers: the file of answers.
        is_replay: ask nobody.
        patience: seconds for each answer while they are recorded.
        deadline: seconds under which they are decided; None: each task's own.
        reports: files, each written in the format of its name.
    """

    questions: Path | None
    answers: Path
    is_replay: bool
    task: str
    providers: tuple[str, ...]
    score: ScoreName
    judge: str
    limit: int | None
    patience: float
    deadline: float | None
    retry_failed: bool
    reports: tuple[Path, ...]


def _report_path(name: str) -> Path:
    path = Path(name)
    if path.suffix not in _REPORTS:
        raise BadParameter(f"expected a name that ends in {', '.join(_REPORTS)}, got '{name}'")
    if not path.parent.is_dir():
        raise BadParameter(f"there is no folder {path.parent}")
    return path


_EXAMPLES = """\
llm-pool eval questions.jsonl                  # ask once, and say what to use
llm-pool eval questions.csv --score contains --report report.html
llm-pool eval --replay questions.answers.jsonl              # ask nobody
llm-pool eval --replay questions.answers.jsonl --apply"""

app = App()


@app.command(epilog=_EXAMPLES)
def evaluate_questions(
    ctx: Context,
    questions: Annotated[
        Path | None,
        Argument(help="JSON lines or CSV: prompt, and perhaps task, expected, id and score; else those of --replay"),
    ] = None,
    answers: Annotated[
        Path | None,
        Option("--answers", metavar="FILE", help="where answers are kept; else QUESTIONS with .answers.jsonl"),
    ] = None,
    replay: Annotated[
        Path | None, Option("--replay", metavar="FILE", help="decide anew on these answers; ask nobody")
    ] = None,
    task: Task = "ask",
    provider: Annotated[
        list[str] | None,
        Option(
            "--provider",
            metavar="NAME",
            help="this one (repeat for more); else all that serve a question's task",
            autocompletion=provider_names,
        ),
    ] = None,
    score: Annotated[
        str,
        Option(
            "--score",
            metavar="NAME",
            help=f"how answers are compared with what is expected: {', '.join(_SCORES)}",
            parser=one_of(*_SCORES),
            autocompletion=lambda: list(_SCORES),
        ),
    ] = "task",
    judge: Annotated[
        str,
        Option(
            "--judge",
            metavar="NAME",
            help="this provider says what is right where nothing is expected",
            autocompletion=provider_names,
        ),
    ] = "",
    limit: Annotated[
        int | None, Option("--limit", metavar="N", help="the first N questions", parser=integer(1, _MOST))
    ] = None,
    patience: Annotated[
        float,
        Option("--patience", metavar="TIME", help="wait so long for each answer", parser=more_than_zero(time_span)),
    ] = _PATIENCE,
    deadline_ms: Annotated[
        float | None,
        Option(
            "--deadline-ms",
            metavar="MS",
            help="decide under this deadline; else each task's",
            parser=more_than_zero(number),
        ),
    ] = None,
    retry_failed: Annotated[bool, Option("--retry-failed", help="ask again where a failure is on record")] = False,
    report: Annotated[
        list[str] | None,
        Option(
            "--report",
            metavar="FILE",
            help="write it as .html, .md or .json too (repeat for more)",
            parser=_report_path,
        ),
    ] = None,
    apply: Annotated[
        bool, Option("--apply", help="write strategies, weights and trust, after showing what changes")
    ] = False,
    yes: Annotated[bool, Option("--yes", help="with --apply: do not ask")] = False,
) -> int:
    """Ask every provider your own questions once, and say which model and which strategy is best on them."""
    console = ctx.obj.console
    if yes and not apply:
        raise InvalidRequest("--yes", "it says yes to --apply, which is not there")
    if replay is not None and answers is not None:
        raise InvalidRequest("--answers", "--replay names the file of answers already")
    if replay is None and questions is None:
        raise InvalidRequest("QUESTIONS", "there is no file", hint="llm-pool eval questions.jsonl")
    options = EvalOptions(
        questions=questions,
        answers=replay or answers or cast(Path, questions).with_suffix(".answers.jsonl"),
        is_replay=replay is not None,
        task=task,
        providers=tuple(provider or ()),
        score=cast("ScoreName", score),
        judge=judge,
        limit=limit,
        patience=patience,
        deadline=None if deadline_ms is None else deadline_ms / 1000,
        retry_failed=retry_failed,
        reports=tuple(cast("list[Path]", report or ())),
    )
    config = read_config(ctx.obj)
    _check_providers(options, config)
    recorded, asked, missed = _recorded(options, config, console)
    evaluation = _decided(options, config, recorded, asked, console)
    _write_reports(options.reports, evaluation, console)
    changes = _changes(config, evaluation) if apply else ("", "")
    if ctx.obj.json:
        from llm_pool.evaluation.report import as_json

        missing = {name: {"questions": one.questions, "reason": one.reason} for name, one in missed.items()}
        more = {"diff": changes[0]} if apply else {}
        console.json({**as_json(evaluation), "answers": str(options.answers), "missed": missing, **more})
    else:
        _print(evaluation, console)
    if apply:
        _apply(config, evaluation, changes, console, yes=yes, show=not ctx.obj.json)
    return ExitCode.PARTIAL if missed else ExitCode.OK


def _check_providers(options: EvalOptions, config: Config) -> None:
    from llm_pool.config.problem import nearest

    known = [one.name for one in config.active_providers]
    for option, names in (("--provider", options.providers), ("--judge", (options.judge,) if options.judge else ())):
        for name in names:
            if name not in known:
                raise InvalidRequest(option, f"there is no provider '{name}'", hint=nearest(name, known))


def _recorded(
    options: EvalOptions, config: Config, console: Console
) -> tuple[Answers, Sequence[Question], dict[str, Missed]]:
    """The answers on record, after asking for what is missing; the questions; and what could not be asked."""
    from llm_pool.evaluation.answers import read_answers
    from llm_pool.evaluation.questions import read_questions

    answers = read_answers(options.answers, must_exist=options.is_replay)
    if options.questions is None:
        questions: list[Question] = list(answers.questions.values())[: options.limit]
    else:
        questions = read_questions(options.questions, task=options.task, limit=options.limit)
    _check_expected(options, config, questions)
    if options.is_replay:
        return answers, questions, {}
    try:
        return answers, questions, asyncio.run(_ask(options, config, answers, questions, console))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise OutputFailed(f"{options.answers}: {reason}", hint="what was written before is kept") from None
    except (KeyboardInterrupt, LlmPoolError):
        if answers.answers:
            console.say(f"what was answered is in {options.answers}; the same command goes on from there")
        raise


def _check_expected(options: EvalOptions, config: Config, questions: Sequence[Question]) -> None:
    """Raises InvalidRequest for what cannot be compared, before anybody is asked."""
    from llm_pool.evaluation.questions import tasks_of
    from llm_pool.evaluation.scores import check
    from llm_pool.tasks import load_task

    tasks = {name: load_task(name, config.prompt_folders, config.prompt_files) for name in tasks_of(questions)}
    for question in questions:
        check(tasks[question.task], question, options.score)


async def _ask(
    options: EvalOptions, config: Config, answers: Answers, questions: Sequence[Question], console: Console
) -> dict[str, Missed]:
    from llm_pool.core.messages import StrategyName
    from llm_pool.evaluation.answers import AnswersWriter
    from llm_pool.evaluation.recording import Asking, Recorder

    asking = Asking(
        config=config, providers=options.providers, patience=options.patience, retry_failed=options.retry_failed
    )
    with AnswersWriter(options.answers) as writer:
        recorder = Recorder(asking, answers, writer.write)
        with Progress(console, f"asking {len(questions)} questions") as progress:
            await recorder.ask(questions, progress.update)
        if StrategyName.JUDGE not in config.ensemble.disabled:
            with Progress(console, "judging where answers differ") as progress:
                await recorder.judge(questions, progress.update)
        if options.judge:
            with Progress(console, f"{options.judge} grades the answers") as progress:
                await recorder.grade(questions, options.judge, progress.update)
    for name, missed in recorder.missed.items():
        console.say(f"note: {name} could not be asked {missed.questions} times: {missed.reason}")
    return recorder.missed


def _decided(
    options: EvalOptions, config: Config, answers: Answers, questions: Sequence[Question], console: Console
) -> Evaluation:
    from llm_pool.evaluation.evaluate import Judging, evaluate
    from llm_pool.testing import VirtualLoop

    with (
        Progress(console, "deciding by every strategy") as progress,
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        return runner.run(
            evaluate(
                config,
                answers,
                questions,
                providers=options.providers,
                judging=Judging(score=options.score, judge=options.judge),
                deadline=options.deadline,
                progress=progress.update,
            )
        )


def _write_reports(paths: Sequence[Path], evaluation: Evaluation, console: Console) -> None:
    for path in paths:
        try:
            path.write_text(_report(path.suffix, evaluation), encoding="utf-8")
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise InvalidRequest("--report", f"{path} cannot be written: {reason}") from None
        console.say(f"wrote {path}")


def _report(suffix: str, evaluation: Evaluation) -> str:
    if suffix == ".html":
        from llm_pool.evaluation.html import as_html

        return as_html(evaluation)
    if suffix == ".md":
        from llm_pool.evaluation.markdown import as_markdown

        return as_markdown(evaluation)
    from llm_pool.evaluation.report import as_json

    return msgspec.json.format(msgspec.json.encode(as_json(evaluation)), indent=2).decode() + "\n"


def _print(evaluation: Evaluation, console: Console) -> None:
    from llm_pool.evaluation.report import grader_sentence, sections

    several = len(evaluation.sections) > 1
    for section in sections(evaluation):
        _print_section(section, console, several=several)
    judge = grader_sentence(evaluation.judging.judge, evaluation.grader)
    if judge:
        console.out(f"\n{judge}")


def _print_section(section: Section, console: Console, *, several: bool) -> None:
    """The table in 80 columns (the reports have all columns), what to know of it, and the sentence."""
    from rich.table import Table

    from llm_pool.cli.drawing import text
    from llm_pool.evaluation.report import COLUMNS, cells, facts, title, verdict

    if several:
        console.show(text(f"\n{title(section)}", "bold"))
    drawn = Table(box=None, show_edge=False, pad_edge=False, padding=(0, 1), header_style="dim")
    shown = 6
    for column in COLUMNS[:shown]:
        drawn.add_column(column, justify="right" if column else "left", overflow="fold")
    for row in section.rows:
        drawn.add_row(*(text(cell) for cell in cells(row)[:shown]))
    console.show(drawn)
    console.out("")
    for fact in facts(section):
        console.out(fact)
    console.show(text(verdict(section), "bold"))


# Applying


def _changes(config: Config, evaluation: Evaluation) -> tuple[str, str]:
    """The diff of the configuration, and its new text."""
    from llm_pool.config.load import parse, read
    from llm_pool.config.resources import builtin_config
    from llm_pool.evaluation.applying import changed_text, diff

    if config.path.resolve() == builtin_config().resolve():
        raise InvalidRequest("--apply", "there is no configuration of your own", hint="llm-pool config init")
    before = read(config.path)
    after = changed_text(before, config, evaluation)
    parse(after, config.path)
    return diff(config.path, before, after), after


def _apply(
    config: Config, evaluation: Evaluation, changes: tuple[str, str], console: Console, *, yes: bool, show: bool
) -> None:
    """Write what was shown, and teach the labelled questions; nothing if the person says no."""
    from llm_pool.evaluation.applying import replace_file, teach
    from llm_pool.trust.learning import trust_store

    difference, after = changes
    if show:
        console.out(f"\n{difference}" if difference else "\nthe configuration stays as it is", end="")
        console.out("" if difference else "\n", end="")
    lessons = sum(len(section.lessons) for section in evaluation.sections)
    if not yes and not _confirmed(f"write this, and learn trust from {lessons} labelled questions? [y/N] ", console):
        console.say("nothing was changed")
        return
    try:
        if difference:
            replace_file(config.path, after)
        learned = teach(evaluation, trust_store()) if config.trust.enabled else 0
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InvalidRequest("--apply", f"cannot be written: {reason}") from None
    wrote = f"wrote {config.path}" if difference else "nothing to write"
    console.say(f"{wrote}; trust learned from {learned} questions that were new to it")


def _confirmed(question: str, console: Console) -> bool:
    if not sys.stdin.isatty():
        raise InvalidRequest("--apply", "there is nobody to ask", hint="--yes")
    console.stderr.write(question)
    console.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}

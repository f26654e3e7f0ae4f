"""The exit codes: one table, from sysexits.h where it has a word for it, GNU timeout and the shell where not."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Self

from llm_pool.cli.console import OutputFailed
from llm_pool.cli.prompt_input import MissingInput, UndecodableInput
from llm_pool.core import errors

if TYPE_CHECKING:
    from llm_pool.core.errors import LlmPoolError


class DegradedAnswer(errors.LlmPoolError):
    """There is an answer, but it is degraded and ``--strict`` takes none such."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the answer is degraded: {reason}", hint="without --strict it is printed, with a note")


class ExitCode(IntEnum):
    """What a command's exit code means; the text is what ``--help`` prints."""

    def __new__(cls, code: int, meaning: str) -> Self:
        """A member with its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    OK = 0, "an answer, or what was asked for"
    BUG = 1, "a bug in llm-pool; the report's path is printed"
    USAGE = 2, "the request cannot be served as it stands"
    NEGATIVE = 10, "with --exit-status: the answer says no, or nothing"
    UNDECIDED = 11, "with --exit-status: the models did not agree as far as they should"
    DEGRADED = 12, "with --strict: the answer is degraded, and not printed"
    DATA = 65, "the input is not what it should be (encoding, JSON lines)"
    NO_INPUT = 66, "an input file is missing"
    UNAVAILABLE = 69, "no provider could answer"
    OUTPUT = 73, "the output cannot be written (the disk is full)"
    BROKEN = 74, "every provider asked broke while answering"
    TEMPORARY = 75, "overloaded or over a limit: try again later"
    PROTOCOL = 76, "the models answered, but not validly, or without consensus"
    NO_PERMISSION = 77, "unknown or not allowed"
    CONFIG = 78, "the configuration cannot be used"
    PARTIAL = 79, "some lines of a batch failed; the others are printed"
    THRESHOLD = 99, "a bench threshold was not met"
    DEADLINE = 124, "no answer by the deadline"
    INTERRUPTED = 130, "interrupted (Ctrl-C)"
    TERMINATED = 143, "terminated (the shell's word for SIGTERM)"


def exit_code_for(error: LlmPoolError) -> ExitCode:
    """The exit code of *error*."""
    if isinstance(error, errors.AllProvidersFailed) and error.attempts:
        kinds = {attempt.error_kind for attempt in error.attempts}
        return next((code for all_of, code in _ALL_OF if kinds <= all_of), ExitCode.UNAVAILABLE)
    return next(code for kind, code in _TABLE.items() if isinstance(error, kind))


_ALL_OF = (
    ({errors.BadReply.kind}, ExitCode.PROTOCOL),
    ({errors.Failed.kind}, ExitCode.BROKEN),
    ({errors.Busy.kind, errors.QueueFull.kind}, ExitCode.TEMPORARY),
)
"""What it means that no provider could answer, where all failed in the same way."""

_TABLE: dict[type[LlmPoolError], ExitCode] = {
    errors.ConfigError: ExitCode.CONFIG,
    errors.InvalidRequest: ExitCode.USAGE,
    errors.Unauthenticated: ExitCode.NO_PERMISSION,
    errors.PermissionDenied: ExitCode.NO_PERMISSION,
    errors.RateLimited: ExitCode.TEMPORARY,
    errors.Overloaded: ExitCode.TEMPORARY,
    errors.Cancelled: ExitCode.TEMPORARY,
    errors.DeadlineExceeded: ExitCode.DEADLINE,
    errors.NoConsensus: ExitCode.PROTOCOL,
    errors.AllProvidersFailed: ExitCode.UNAVAILABLE,
    errors.Rejected: ExitCode.USAGE,
    errors.ProviderError: ExitCode.UNAVAILABLE,
    DegradedAnswer: ExitCode.DEGRADED,
    MissingInput: ExitCode.NO_INPUT,
    OutputFailed: ExitCode.OUTPUT,
    UndecodableInput: ExitCode.DATA,
}

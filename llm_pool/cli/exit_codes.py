"""The exit codes: one table, from sysexits.h where it has a word for it, GNU timeout and the shell where not."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Self

from llm_pool import errors
from llm_pool.cli.reading_input import MissingInput, UndecodableInput

if TYPE_CHECKING:
    from llm_pool.errors import LlmPoolError


class Exit(IntEnum):
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
    DATA = 65, "the input is not what it should be (encoding, JSON lines)"
    NO_INPUT = 66, "an input file is missing"
    UNAVAILABLE = 69, "no provider could answer"
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


def exit_for(error: LlmPoolError) -> Exit:
    """The exit code of *error*."""
    if isinstance(error, errors.AllProvidersFailed) and error.attempts:
        kinds = {attempt.error_kind for attempt in error.attempts}
        return next((code for all_of, code in _ALL_OF if kinds <= all_of), Exit.UNAVAILABLE)
    return next(code for kind, code in _TABLE.items() if isinstance(error, kind))


_ALL_OF = (
    ({errors.BadReply.kind}, Exit.PROTOCOL),
    ({errors.Failed.kind}, Exit.BROKEN),
    ({errors.Busy.kind, errors.QueueFull.kind}, Exit.TEMPORARY),
)
"""What it means that no provider could answer, where all failed in the same way."""

_TABLE: dict[type[LlmPoolError], Exit] = {
    errors.ConfigError: Exit.CONFIG,
    errors.InvalidRequest: Exit.USAGE,
    errors.Unauthenticated: Exit.NO_PERMISSION,
    errors.PermissionDenied: Exit.NO_PERMISSION,
    errors.RateLimited: Exit.TEMPORARY,
    errors.Overloaded: Exit.TEMPORARY,
    errors.Cancelled: Exit.TEMPORARY,
    errors.DeadlineExceeded: Exit.DEADLINE,
    errors.NoConsensus: Exit.PROTOCOL,
    errors.AllProvidersFailed: Exit.UNAVAILABLE,
    errors.Rejected: Exit.USAGE,
    errors.ProviderError: Exit.UNAVAILABLE,
    MissingInput: Exit.NO_INPUT,
    UndecodableInput: Exit.DATA,
}

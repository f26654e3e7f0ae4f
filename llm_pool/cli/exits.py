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
    DATA = 65, "the input is not what it should be (encoding, JSON lines)"
    NO_INPUT = 66, "an input file is missing"
    UNAVAILABLE = 69, "no provider could answer"
    TEMPORARY = 75, "overloaded or over a limit: try again later"
    PROTOCOL = 76, "the models answered, but not validly, or without consensus"
    NO_PERMISSION = 77, "unknown or not allowed"
    CONFIG = 78, "the configuration cannot be used"
    PARTIAL = 79, "some lines of a batch failed; the others are printed"
    THRESHOLD = 99, "a bench threshold was not met"
    DEADLINE = 124, "no answer by the deadline"
    INTERRUPTED = 130, "interrupted (Ctrl-C)"


def exit_for(error: LlmPoolError) -> Exit:
    """The exit code of *error*."""
    if isinstance(error, errors.AllProvidersFailed) and _all_invalid(error):
        return Exit.PROTOCOL
    return next(code for kind, code in _TABLE.items() if isinstance(error, kind))


def _all_invalid(error: errors.AllProvidersFailed) -> bool:
    return bool(error.attempts) and all(attempt.outcome == "invalid" for attempt in error.attempts)


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
    errors.ProviderError: Exit.UNAVAILABLE,
    MissingInput: Exit.NO_INPUT,
    UndecodableInput: Exit.DATA,
}

"""
Every error this package raises, in one tree.

::

    LlmPoolError
    ├─ ConfigError(path, line, key, got, want, hint)
    ├─ InvalidRequest(field, reason, hint)
    │  ├─ UnknownModel(model)
    │  ├─ ContextLengthExceeded(field, reason, hint)
    │  └─ RequestIdReused(field, reason, hint)
    ├─ Unauthenticated(reason), PermissionDenied(reason)
    ├─ RateLimited(retry_after)
    ├─ Overloaded(retry_after, what)
    │  └─ Stopping       the daemon takes no new work
    ├─ Cancelled(by)
    ├─ DeadlineExceeded(asked, attempts)
    ├─ NoConsensus(decision)
    ├─ AllProvidersFailed(task, attempts)
    │  └─ AllProvidersUnavailable(task, attempts, retry_after)
    └─ ProviderError(provider, reason)        inside only; travels as a value in an Attempt
       ├─ Unreachable      nobody listens, or the connection broke before a byte came
       ├─ TimedOut         the attempt's own timeout passed
       │  └─ OutOfTime     the asker's time ran out before the attempt had a fair chance
       ├─ Rejected         the backend refused the request as it stands (4xx): asking again cannot help
       │  ├─ UnsupportedTask  the model knows a few tasks, and this is none of them
       │  ├─ UnsupportedTools  the model or its server calls no tools
       │  └─ PromptTooLong     the prompt does not fit the model's context
       ├─ Busy             the backend asks us to come back later (429, 503)
       │  ├─ QueueFull     our own queue before the backend is full, or too slow for the deadline
       │  └─ Loading       the model is being loaded, and was not there in time
       ├─ OutOfResources   this process or machine has no file descriptor left: the backend was not even asked
       ├─ Failed           the backend broke (5xx, a cut stream, an error inside a 200 stream)
       ├─ BadReply         the backend answered, but not what was asked for (schema, garbage)
       └─ BreakerOpen      our own breaker refuses to ask it now

Each class takes typed fields and builds its own sentence: what, which, got, expected, way out.
Exit codes live in ``cli/exit_codes.py``, HTTP and gRPC status in ``server/status.py``; both walk this tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llm_pool.core.messages import Attempt, Decision


MAX_SENTENCE = 1_000
"""Characters of what a client is told of its own request: what it sent is quoted, and may be a megabyte."""


class LlmPoolError(Exception):
    """
    The base of every error raised on purpose by this package.

    Attributes:
        hint: what the person can do next, usually a command to type; empty if nothing helps.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def remote_hint(self) -> str:
        """What a client of the daemon can do next: *hint*, unless that is a command for the daemon's own machine."""
        return self.hint


class ConfigError(LlmPoolError):
    """
    The configuration cannot be used.

    Args:
        path: the file, or None for a value that came from elsewhere (a flag, the environment).
        key: the dotted key as written in TOML, e.g. ``qos.hedge_after_ms``; empty for a syntax error.
        got: the offending value as the person wrote it.
        want: what would be accepted.
        line: 1-based line in *path*, or None where unknown.
        hint: the way out, e.g. the nearest known name.

    Attributes:
        also: the other mistakes found in the same file, in its order.
    """

    def __init__(  # one parameter for each part of the sentence
        self,
        *,
        path: Path | None,
        key: str,
        got: str,
        want: str,
        line: int | None = None,
        hint: str = "",
    ) -> None:
        place = str(path) if path is not None else "configuration"
        if line is not None:
            place = f"{place}:{line}"
        subject = f"{key}: " if key else ""
        super().__init__(f"{place}: {subject}expected {want}, got {got}", hint=hint)
        self.path, self.line, self.key, self.got, self.want = path, line, key, got, want
        self.also: tuple[ConfigError, ...] = ()


class InvalidRequest(LlmPoolError):
    """A request that cannot be served as it stands; *field* names the culprit. What is too long is cut."""

    def __init__(self, field: str, reason: str, *, hint: str = "") -> None:
        field, reason = _cut(field), _cut(reason)
        super().__init__(f"{field}: {reason}", hint=hint)
        self.field, self.reason = field, reason


class UnknownModel(InvalidRequest):
    """Nothing here is called *model*."""

    def __init__(self, model: str, *, hint: str = "") -> None:
        LlmPoolError.__init__(self, f"model '{_cut(model)}' not found", hint=hint)  # clients look for these words
        self.field, self.reason = "model", "not found"


class ContextLengthExceeded(InvalidRequest):
    """The prompt fits no model's context; *reason* has the number of its tokens."""


class RequestIdReused(InvalidRequest):
    """The sender has used this request's id for another request."""


class Unauthenticated(LlmPoolError):
    """Nobody we know sent this request."""


class PermissionDenied(LlmPoolError):
    """We know the sender, and this is not theirs to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(_cut(message), hint=hint)


class RateLimited(LlmPoolError):
    """The sender's rate is spent; *retry_after* is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"rate limit reached; try again in {retry_after:.1f} s")
        self.retry_after = retry_after


class Overloaded(LlmPoolError):
    """Our own queue is full or could not be served in time; *retry_after* is in seconds."""

    def __init__(self, what: str, retry_after: float) -> None:
        super().__init__(f"{what} is overloaded; try again in {retry_after:.1f} s")
        self.what, self.retry_after = what, retry_after


class Stopping(Overloaded):
    """The daemon is about to stop, or stopped before the answer was there; another one may be up in *retry_after*."""

    def __init__(self, retry_after: float = 1.0) -> None:
        LlmPoolError.__init__(self, f"the server is stopping; try again in {retry_after:.1f} s")
        self.what, self.retry_after = "the server", retry_after


class Cancelled(LlmPoolError):
    """Somebody entitled to do so ended the request before its answer; *by* says who."""

    def __init__(self, by: str) -> None:
        super().__init__(f"cancelled by {by}")
        self.by = by


class DeadlineExceeded(LlmPoolError):
    """
    No usable answer came in time.

    Args:
        asked: the span that was given, in seconds.
        attempts: what was tried.
        cut: in words, what made the span shorter than was asked for.
    """

    def __init__(self, asked: float, attempts: Sequence[Attempt] = (), *, cut: str = "") -> None:
        tried = ", ".join(f"{a.provider} ({a.outcome})" for a in attempts)
        told = [a for a in attempts if a.outcome in {"failed", "invalid"} or a.error_kind == Loading.kind]
        super().__init__(
            f"no answer within {asked * 1000:.0f} ms" + (f"; asked {tried}" if tried else "") + _by_reason(told),
            hint=cut or "--deadline-ms gives it longer; llm-pool health --warm  loads models ahead",
        )
        self.asked, self.attempts = asked, tuple(attempts)

    @property
    def remote_hint(self) -> str:
        """A longer deadline."""
        return "a longer deadline gives the models more time, up to what the server allows"


class NoConsensus(LlmPoolError):
    """The panel did not agree as far as the strict rule demands; *decision* shows how far it did."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(f"no consensus: {decision.reason}")
        self.decision = decision


class AllProvidersFailed(LlmPoolError):
    """Every provider able to serve *task* was asked or skipped, and none gave a usable answer."""

    def __init__(self, task: str, attempts: Sequence[Attempt] = ()) -> None:
        hint = next((a.hint for a in attempts if a.hint), "")
        super().__init__(
            f"no provider could answer task '{task}'{_by_reason(attempts)}",
            hint=f"{hint}{'  or  ' if hint else ''}llm-pool health",
        )
        self.task, self.attempts = task, tuple(attempts)

    @property
    def remote_hint(self) -> str:
        """Nothing: it is for who runs the pool to mend."""
        return ""


class AllProvidersUnavailable(AllProvidersFailed):
    """Every provider able to serve *task* asks to be left alone for now, the first for *retry_after* seconds."""

    def __init__(self, task: str, attempts: Sequence[Attempt], retry_after: float) -> None:
        super().__init__(task, attempts)
        self.retry_after = retry_after


def _by_reason(attempts: Sequence[Attempt]) -> str:
    """A line for each reason, with those who gave it: several models of one stopped server have one and the same."""
    providers: dict[str, dict[str, None]] = {}
    for attempt in attempts:
        if attempt.error:
            providers.setdefault(attempt.error, {})[attempt.provider] = None
    return "".join(f"\n  {', '.join(names)}: {reason}" for reason, names in providers.items())


class ProviderError(LlmPoolError):
    """
    One provider's failure. Racing turns it into the ``error`` of an Attempt; it never reaches a caller.

    Attributes:
        kind: short stable word for metrics and JSON.
        trips_breaker: whether the failure says that the backend is ill. Busy, wrong and refused are not ill.
        retry_after: seconds the backend asked us to wait, where it said so.
    """

    kind: ClassVar[str] = "failed"
    trips_breaker: ClassVar[bool] = False

    def __init__(self, provider: str, reason: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(reason, hint=hint)
        self.provider, self.reason, self.retry_after = provider, reason, retry_after


class Unreachable(ProviderError):
    """Nobody listens, or the connection broke before an answer began."""

    kind = "unreachable"
    trips_breaker = True


class TimedOut(ProviderError):
    """The attempt's own timeout passed."""

    kind = "timed_out"
    trips_breaker = True


class OutOfTime(TimedOut):
    """The asker's deadline cut the attempt short; a patient asker may well have had an answer."""

    kind = "out_of_time"
    trips_breaker = False


class Rejected(ProviderError):
    """The backend refused the request as it stands (4xx): the same request will not do better."""

    kind = "rejected"


class UnsupportedTask(Rejected):
    """The model was taught a few tasks in a small world: asked for anything else, it would invent an answer."""

    kind = "unsupported_task"


class UnsupportedTools(Rejected):
    """The model or its server calls no tools: asked without them, it would answer another question."""

    kind = "unsupported_tools"


class PromptTooLong(Rejected):
    """The prompt does not fit the model's context; another model's may hold it."""

    kind = "prompt_too_long"


class Busy(ProviderError):
    """The backend asks us to come back later (429, 503); ``retry_after`` says when, if it did."""

    kind = "busy"


class QueueFull(Busy):
    """Our own queue before the backend refuses; ``retry_after`` is when there may be room."""

    kind = "queue_full"


class Loading(Busy):
    """The backend is loading its model: nothing is wrong, and asking again a little later helps."""

    kind = "loading"


class OutOfResources(ProviderError):
    """We have no file descriptor (or the like) left to ask with; *what* names it. It says nothing of the backend."""

    kind = "out_of_resources"

    def __init__(self, provider: str, what: str) -> None:
        super().__init__(provider, f"llm-pool has no more {what}", retry_after=1.0)
        self.what = what


class Failed(ProviderError):
    """The backend broke: 5xx, a stream cut short, an error line inside a 200 stream."""

    kind = "failed"
    trips_breaker = True


class BadReply(ProviderError):
    """The backend answered, but the answer is not what the task asks for."""

    kind = "bad_reply"


class BreakerOpen(ProviderError):
    """Our own breaker refuses to ask this provider now; ``retry_after`` is the rest of the cooldown."""

    kind = "breaker_open"


def _cut(text: str) -> str:
    """*text* without its middle, where it is long."""
    return text if len(text) <= MAX_SENTENCE else f"{text[: MAX_SENTENCE - 200]} … {text[-150:]}"

"""
The values that travel.

::

    edge ──Query──▶ Orchestrator ──Call──▶ Strategy ──▶ AttemptGroup ──▶ Provider
         ◀─Answer──              ◀─Decision──       ◀─Attempt──     ◀─Delta… | ProviderError

Each is frozen and made in one place: Query at the edge, Call in the orchestrator, Delta in a provider,
Attempt in attempts, Decision in a strategy, Answer in the orchestrator. Times are seconds:
*spans* unless a docstring says *instant* (then on ``Clock.now()``'s scale).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec

Json: TypeAlias = Any
"""A parsed JSON value: dict, list, str, int, float, bool or None."""


class StrategyName(StrEnum):
    """The five ensemble strategies."""

    FASTEST = "FASTEST"
    VOTING = "VOTING"
    WEIGHTED = "WEIGHTED"
    CONSENSUS = "CONSENSUS"
    JUDGE = "JUDGE"

    @classmethod
    def _missing_(cls, value: object) -> StrategyName | None:
        """The name in any letter case, as people type it."""
        return cls.__members__.get(str(value).upper())


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a sender may have at most; None: as much as the configuration gives anybody.

    Attributes:
        deadline: seconds.
        providers: how many of the panel are asked.
    """

    max_tokens: int | None = None
    deadline: float | None = None
    providers: int | None = None


class Turn(msgspec.Struct, frozen=True):
    """One thing said earlier in a conversation."""

    role: Literal["system", "user", "assistant"]
    text: str


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a person or program asks.

    Attributes:
        task: name of a task, or ``ask`` for a plain question.
        prompt: text, or JSON text where the task takes an object.
        deadline: seconds from now; None takes the task's or the configuration's.
        strategy: None takes the task's own.
        no_cache: neither read nor fill the cache.
        caps: the sender's, not the query's own: they never come from the wire.
        turns: what was said before *prompt*, the oldest first.
        output_schema: JSON Schema of the answer, for a task without one of its own.
        temperature: None takes the task's.
        stop: texts before which the answer ends; they are not part of it.
        providers: names of the only ones that may be asked; empty: the task's panel.
    """

    prompt: str
    task: str = "ask"
    request_id: str = ""
    tenant_id: str = ""
    project_id: str = ""
    max_tokens: int | None = None
    deadline: float | None = None
    strategy: StrategyName | None = None
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    no_cache: bool = False
    caps: Caps = Caps()
    turns: tuple[Turn, ...] = ()
    output_schema: dict[str, Json] | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()


class Prompt(msgspec.Struct, frozen=True):
    """What one model is shown: a system text (may be empty), earlier turns if there are any, and the user's turn."""

    system: str
    user: str
    turns: tuple[Turn, ...] = ()

    @property
    def transcript(self) -> str:
        """The conversation as one text, for a reader who takes no turns: *user* alone where it is the only one."""
        if not self.turns:
            return self.user
        return "\n\n".join(f"{turn.role}: {turn.text}" for turn in (*self.turns, Turn("user", self.user)))


OutputKind: TypeAlias = Literal["text", "value", "object", "ranking"]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """
    A kind of work: how it is asked for and what a good answer looks like. Loaded from ``prompts/<name>.md``.

    Attributes:
        template: the prompt body; the first ``---user---`` line, if any, parts system from user text.
        variants: other phrasings of the same task by name (``prompts/<variant>/<name>.md``), for models that need them.
        input_schema: JSON Schema of the input, if the task takes JSON; None takes any text.
        output_schema: JSON Schema of the output; None means free text.
        kind: how answers are compared: free ``text``; the ``value`` of one named field; an ``object`` field by
            field; a ``ranking`` of ids.
        field: the deciding field for ``value`` and ``ranking``.
        ids_from: where in a JSON input the ids are that ``field`` may name, e.g. ``candidates[].id``.
        version: a short hash of everything above; part of every cache key.
        source: the file it was loaded from; empty for the one that is built in.
    """

    name: str
    template: str
    variants: dict[str, str] = msgspec.field(default_factory=dict)
    description: str = ""
    input_schema: dict[str, Json] | None = None
    output_schema: dict[str, Json] | None = None
    kind: OutputKind = "text"
    field: str = ""
    ids_from: str = ""
    temperature: float = 0.2
    max_tokens: int | None = None
    deadline: float | None = None
    version: str = ""
    source: str = ""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """
    One question as the panel gets it.

    Attributes:
        input: the query's prompt, parsed if the task takes JSON.
        schema: the task's output schema narrowed to this input (the ids it may name); None for free text.
        ids: ids the answer may name, in the input's order; empty where the task names none.
        began: instant the request was admitted; attempts tell their times from here.
        deadline: instant.
        reserve: seconds after the deadline that are kept for a last resort; a failover may have part of them.
        stream: somebody reads along, so the first stream to write owns a free-text answer.
        top_logprobs: how many alternatives per token to ask for; 0 asks for none.
        timeout: seconds this attempt may take at most, beside the deadline; None: no limit of its own.
        stop: texts before which the answer ends.
    """

    request_id: str
    task: Task
    input: Json
    prompt: Prompt
    schema: dict[str, Json] | None
    ids: tuple[str, ...]
    max_tokens: int
    temperature: float
    began: float
    deadline: float
    stream: bool = False
    seed: int | None = None
    top_logprobs: int = 0
    timeout: float | None = None
    tenant_id: str = ""
    stop: tuple[str, ...] = ()
    reserve: float = 0.0


class TokenLogprob(msgspec.Struct, frozen=True):
    """One generated token with the alternatives the model weighed: natural logarithms."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


FinishReason: TypeAlias = Literal["stop", "length", "cancelled", "other"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the backend counted them; None where it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Delta(msgspec.Struct, frozen=True):
    """
    A piece of a stream.

    Attributes:
        final: the backend finished properly; exactly one per good stream, and its last.
        finish: why it finished, on the final delta.
        loading: seconds the backend spent loading the model, on the final delta, where it says so.
    """

    text: str = ""
    final: bool = False
    finish: FinishReason = "stop"
    usage: Usage = Usage()
    logprobs: tuple[TokenLogprob, ...] = ()
    loading: float | None = None


class Reading(msgspec.Struct, frozen=True):
    """
    What a model wrote, once read.

    Attributes:
        content: the answer as text: the JSON alone where JSON was asked for.
        value: the parsed JSON, None for free text.
        rung: which rung of the repair ladder made it readable; ``strict`` needed none.
    """

    content: str
    value: Json
    rung: str = "strict"


Outcome: TypeAlias = Literal["ok", "invalid", "failed", "timed_out", "cancelled", "refused"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """
    One call to one provider, told to its end.

    Attributes:
        outcome: ``ok`` a valid answer; ``invalid`` an answer that fails the task's schema; ``failed`` and
            ``timed_out`` no answer; ``cancelled`` lost the race; ``refused`` not sent (breaker, queue, budget).
        started: seconds after the request began.
        duration: seconds, up to the end or the cancellation.
        why: what started it: ``primary``, ``hedge``, ``failover``, ``vote``, ``judge``, ``last_resort``.
        reading: present exactly when the outcome is ``ok``.
        error: one sentence, empty when ``ok`` or ``cancelled``; *error_kind* is the ProviderError's kind and
            *hint* its way out.
    """

    provider: str
    model: str
    outcome: Outcome
    started: float
    duration: float
    why: str = "primary"
    ttft: float | None = None
    usage: Usage = Usage()
    finish: FinishReason = "other"
    reading: Reading | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    error: str = ""
    error_kind: str = ""
    hint: str = ""
    retry_after: float | None = None


class Cluster(msgspec.Struct, frozen=True):
    """Providers whose answers count as the same, and the weight behind them."""

    providers: tuple[str, ...]
    score: float
    label: str = ""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """
    How an answer was chosen.

    Attributes:
        asked: the strategy that was asked for; *used* the one that decided (a fallback differs).
        winner: provider whose answer it is; for a fused answer, the one that agrees with it most.
        scores: per provider, what the strategy weighed; comparable within one decision only.
        agreement: weight behind the winner by weight of all asked, in [0, 1]; None where it was not measured.
        reason: one sentence why the winner won.
        notes: what else a careful reader wants to know: skipped, fell back, untrusted for this shape.
        saved: calls that early stopping made unnecessary.
        degraded: a promise was bent (quorum lost, last resort, deadline); *missing* names who did not answer.
        judge: the judge's evidence, where there was one.
    """

    asked: StrategyName
    used: StrategyName
    winner: str
    model: str
    reading: Reading
    reason: str
    attempts: tuple[Attempt, ...]
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    clusters: tuple[Cluster, ...] = ()
    agreement: float | None = None
    notes: tuple[str, ...] = ()
    saved: int = 0
    degraded: bool = False
    degraded_reason: str = ""
    missing: tuple[str, ...] = ()
    judge: dict[str, Json] | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What goes back to the asker.

    Attributes:
        content: the text; *json* the parsed value, None for free text.
        duration: seconds from admission to this answer.
        age: seconds since a cached answer was made; None if it is fresh.
    """

    request_id: str
    task: str
    content: str
    json: Json
    winner: str
    winner_model: str
    strategy_used: StrategyName
    decision: Decision
    usage: Usage
    duration: float
    from_cache: bool = False
    age: float | None = None
    degraded: bool = False


Condition: TypeAlias = Literal["healthy", "warming", "unreachable", "model_missing", "failing"]


class ProviderState(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a provider's backend says of itself.

    Attributes:
        condition: ``healthy`` ready now; ``warming`` there, but the model is not loaded yet; ``unreachable``
            nobody listens; ``model_missing`` it listens, but does not have the model; ``failing`` it answers
            with errors.
        detail: one clause for a person.
        hint: the next command to type; empty when healthy.
        loaded: models the backend holds in memory now, where it tells.
    """

    name: str
    model: str
    condition: Condition
    detail: str = ""
    hint: str = ""
    loaded: tuple[str, ...] = ()


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One model on disk. *size* in bytes, *place* a path or an address."""

    name: str
    size: int | None
    place: str
    loaded: bool = False
    digest: str = ""
    detail: dict[str, Json] = msgspec.field(default_factory=dict)


class PullProgress(msgspec.Struct, frozen=True):
    """One step of a pull: *done* and *total* in bytes of the part being fetched; total None while unknown."""

    status: str
    done: int = 0
    total: int | None = None

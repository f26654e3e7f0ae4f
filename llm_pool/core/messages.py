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

import math
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


Think: TypeAlias = bool | Literal["low", "medium", "high"]
"""Whether a model may think before it answers, and how long; True leaves the length to the model."""

THINK_WORDS: dict[str, Think] = {"false": False, "true": True, "low": "low", "medium": "medium", "high": "high"}
"""What people write for it."""


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


class Tool(msgspec.Struct, frozen=True):
    """A function that a model may call; *parameters* is the JSON Schema of its arguments, an object."""

    name: str
    description: str = ""
    parameters: dict[str, Json] = msgspec.field(default_factory=lambda: {"type": "object"})


class ToolCall(msgspec.Struct, frozen=True):
    """A model's wish that a tool be called; *arguments* is the text of a JSON object."""

    id: str
    name: str
    arguments: str


ToolChoice: TypeAlias = str
"""``auto``: the model decides; ``none``: no call; ``required``: some call; else the name of the tool to call."""


class Image(msgspec.Struct, frozen=True):
    """A picture: *data* in base64, *media_type* as in ``image/png``."""

    media_type: str
    data: str


class Turn(msgspec.Struct, frozen=True):
    """
    One thing said earlier in a conversation.

    Attributes:
        tool_calls: of an assistant's turn, which may have no text beside them.
        tool_call_id: of a tool's turn, whose text is the result of that call.
        images: of a user's turn.
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    images: tuple[Image, ...] = ()


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a person or program asks.

    Attributes:
        task: name of a task, or ``ask`` for a plain question.
        prompt: text, or JSON text where the task takes an object; empty where *turns* end with the result of a tool, or
            with the beginning of an answer, which the model continues.
        deadline: seconds from now; None takes the task's or the configuration's.
        strategy: None takes the task's own.
        no_cache: neither read nor fill the cache.
        caps: the sender's, not the query's own: they never come from the wire.
        turns: what was said before *prompt*, the oldest first.
        output_schema: JSON Schema of the answer, for a task without one of its own.
        takes_cut: JSON that its length cut off is an answer all the same, told by its *finish*.
        temperature: None takes the task's.
        stop: texts before which the answer ends; they are not part of it.
        providers: names of the only ones that may be asked; empty: the task's panel.
        think: None takes the task's, else each provider's own.
        top_logprobs: alternatives to each token to tell beside its log probability; None tells no probabilities.
        tools: what the models may call instead of answering.
        parallel_tool_calls: whether one answer may hold several calls.
        images: what *prompt* is about.
        correlation_id: what the request is called where it has no *request_id*; it promises no replay.
        trace: the W3C trace context it came with, by header; it goes on to the backends.
        extra: sampling fields beside the above, by their names in the OpenAI API, for a single provider.
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
    takes_cut: bool = False
    temperature: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    think: Think | None = None
    top_logprobs: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    images: tuple[Image, ...] = ()
    correlation_id: str = ""
    trace: dict[str, str] = msgspec.field(default_factory=dict)
    extra: dict[str, Json] = msgspec.field(default_factory=dict)


class Prompt(msgspec.Struct, frozen=True):
    """
    What one model is shown: a system text (may be empty), earlier turns if there are any, and the user's turn.

    *user* is empty where *turns* end with something else than a question; *images* belong to the user's turn.
    """

    system: str
    user: str
    turns: tuple[Turn, ...] = ()
    images: tuple[Image, ...] = ()

    @property
    def transcript(self) -> str:
        """The conversation as one text, for a reader who takes no turns: *user* alone where it is the only one."""
        if not self.turns:
            return self.user
        last = (Turn("user", self.user),) if self.user else ()
        return "\n\n".join(f"{turn.role}: {_told(turn)}" for turn in (*self.turns, *last))


def _told(turn: Turn) -> str:
    """What *turn* says, its calls included."""
    calls = (f"{call.name}({call.arguments})" for call in turn.tool_calls)
    return "\n".join(filter(None, (turn.text, *calls)))


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
        idle: seconds that a streamed answer may pause; from its first token on this takes the deadline's place. None:
            the deadline holds to the end.
        latest: instant after which nothing counts, however well it flows.
        deadline_cut: what a reader is to know where less time was given than was asked for; empty where not.
        takes_cut: JSON that its length cut off is an answer all the same.
        max_tokens: the longest answer; None lets the model write to its end.
        reserve: seconds after the deadline that are kept for a last resort; a failover may have part of them.
        stream: somebody reads along, so the first stream to write owns a free-text answer.
        top_logprobs: how many alternatives per token to ask for; 0 asks for none.
        timeout: seconds this attempt may take at most, beside the deadline; None: no limit of its own.
        stop: texts before which the answer ends.
        think: as request or task say; None: neither does, and the provider decides.
        think_tokens: tokens that thinking of medium length may take beside *max_tokens*.
        tools: what the model may call instead of answering; empty where the choice is ``none``.
        parallel_tool_calls: whether one answer may hold several calls.
        trace, extra: the query's.
    """

    request_id: str
    task: Task
    input: Json
    prompt: Prompt
    schema: dict[str, Json] | None
    ids: tuple[str, ...]
    max_tokens: int | None
    temperature: float
    began: float
    deadline: float
    idle: float | None = None
    latest: float = math.inf
    deadline_cut: str = ""
    takes_cut: bool = False
    stream: bool = False
    seed: int | None = None
    top_logprobs: int = 0
    timeout: float | None = None
    tenant_id: str = ""
    stop: tuple[str, ...] = ()
    think: Think | None = None
    think_tokens: int = 4096
    reserve: float = 0.0
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    trace: dict[str, str] = msgspec.field(default_factory=dict)
    extra: dict[str, Json] = msgspec.field(default_factory=dict)


class TokenLogprob(msgspec.Struct, frozen=True):
    """One generated token with the alternatives the model weighed: natural logarithms."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


FinishReason: TypeAlias = Literal["stop", "length", "repetition", "tool_calls"]
"""
Why an answer ends: the model's own end; the limit of tokens; the backend broke off a model that repeated itself; it
waits for the results of the tools it calls.
"""


class Usage(msgspec.Struct, frozen=True):
    """Tokens as the backend counted them; None where it does not say."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class ToolCallDelta(msgspec.Struct, frozen=True):
    """
    A piece of a call as it is written.

    Attributes:
        index: which of the answer's calls it belongs to, from 0.
        id, name: on the first piece of a call.
        arguments: to be added to the text of its arguments.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


Vector: TypeAlias = tuple[float, ...]
"""Where a text lies in the space of an embedding model."""


class Embeddings(msgspec.Struct, frozen=True):
    """Vectors, one for each text in its order, and the tokens that were read; None where the backend does not say."""

    vectors: tuple[Vector, ...]
    tokens: int | None = None


class EmbeddingInput(msgspec.Struct, frozen=True):
    """
    Texts to be embedded.

    Attributes:
        dimensions: length of the vectors; None is the model's own.
        truncate: a text that is longer than the model's context is cut, where the backend can; else it is refused.
    """

    texts: tuple[str, ...]
    dimensions: int | None = None
    truncate: bool = False


class Delta(msgspec.Struct, frozen=True):
    """
    A piece of a stream.

    Attributes:
        text: to be added to the answer.
        reasoning: to be added to what the model thought before or between; never part of the answer.
        retracted: what came as text so far was reasoning: *text* begins the answer anew.
        final: the backend finished properly; exactly one per good stream, and its last.
        finish: why it finished, on the final delta.
        loading: seconds the backend spent loading the model, on the final delta, where it says so.
        note: what a careful reader wants to know of the call, on the final delta; empty where all was as usual.
        vectors: to be added to the vectors, where texts are embedded.
        tool_calls: to be added to the calls of the answer.
    """

    text: str = ""
    final: bool = False
    finish: FinishReason = "stop"
    usage: Usage = Usage()
    logprobs: tuple[TokenLogprob, ...] = ()
    loading: float | None = None
    reasoning: str = ""
    retracted: bool = False
    note: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    vectors: tuple[Vector, ...] = ()

    @property
    def has_token(self) -> bool:
        """Whether the model has written something, be it thought, said, called or embedded: a sign of life."""
        return bool(self.text or self.reasoning or self.tool_calls or self.vectors)


class Reading(msgspec.Struct, frozen=True):
    """
    What a model wrote, once read.

    Attributes:
        content: the answer as text: the JSON alone where JSON was asked for.
        value: the parsed JSON, None for free text.
        repair: what made it readable, as listed in ``llm_pool.reading``; ``strict`` is none.
        tool_calls: what the model wants called; *content* is then what it says beside them, and *value* is None.
    """

    content: str
    value: Json
    repair: str = "strict"
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def shown(self) -> str:
        """What it says, for a person: the text, then each call as ``name({"argument": …})``."""
        return _told(Turn("assistant", self.content, self.tool_calls))


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
        ttft: seconds to the first token, thought or said, *queued* included: the model's first sign of life.
        finish: why the answer ends; None where it never came to an end.
        reading: present exactly when the outcome is ``ok``.
        reasoning: what the model thought, without its tags; the beginning alone where it is long.
        error: one sentence, empty when ``ok`` or ``cancelled``; *error_kind* is the ProviderError's kind and
            *hint* its way out.
        note: what a careful reader wants to know of it.
        cut: what was written where time or tokens ended before it was a valid answer, and the asker may be told it.
        queued: seconds it waited in our own queue before its machine, and there for its model to be loaded.
    """

    provider: str
    model: str
    outcome: Outcome
    started: float
    duration: float
    why: str = "primary"
    ttft: float | None = None
    usage: Usage = Usage()
    finish: FinishReason | None = None
    reading: Reading | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    error: str = ""
    error_kind: str = ""
    hint: str = ""
    note: str = ""
    retry_after: float | None = None
    reasoning: str = ""
    cut: str = ""
    queued: float = 0.0

    @property
    def first_token(self) -> float | None:
        """Seconds that the backend took to its first token: *ttft* without our queue; None where none came."""
        return None if self.ttft is None else max(0.0, self.ttft - self.queued)

    @property
    def writing(self) -> float | None:
        """Seconds from the first token to the end; None where none came."""
        return None if self.ttft is None else max(0.0, self.duration - self.ttft)


class Cluster(msgspec.Struct, frozen=True):
    """Providers whose answers count as the same, and the weight behind them."""

    providers: tuple[str, ...]
    score: float
    label: str = ""


DEADLINE_NOTE = "the deadline is "
"""How a note begins that says what made the deadline shorter than was asked for."""


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
        margin: by how much the trusted votes for the winner exceed those for its best rival, a natural logarithm of
            odds, negative where a fallback chose the rival; None where it was not measured.
        confidence: share right of the labelled answers, of all tasks, that were at least as sure as this one is by its
            margin; None where too few of the task are labelled.
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
    margin: float | None = None
    confidence: float | None = None

    @property
    def winning_attempt(self) -> Attempt | None:
        """The attempt whose text the answer is; None where it is not among the attempts."""
        for one in self.attempts:
            if one.provider == self.winner and one.outcome == "ok" and one.why != "judge":
                return one
        return None

    @property
    def ran_out_of_time(self) -> bool:
        """Whether the answer ends where the deadline came, or a pause in it was too long."""
        won = self.winning_attempt
        return won is not None and won.error_kind in {"out_of_time", "timed_out"}

    @property
    def deadline_note(self) -> str:
        """The note that says what made the deadline shorter than was asked for; empty where nothing did."""
        return next((note for note in self.notes if note.startswith(DEADLINE_NOTE)), "")

    @property
    def finish(self) -> FinishReason:
        """Why the winner's text ends."""
        won = self.winning_attempt
        return "stop" if won is None or won.finish is None else won.finish


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """
    What goes back to the asker.

    Attributes:
        content: the text; *json* the parsed value, None for free text.
        finish: why the text ends; anything but ``stop`` and ``tool_calls`` says that it is not whole.
        tool_calls: what the model wants called before it answers; empty where this is an answer.
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
    finish: FinishReason = "stop"
    tool_calls: tuple[ToolCall, ...] = ()

    def without_reasoning(self) -> Answer:
        """The same without what the models thought: the form in which answers are kept."""
        if not any(attempt.reasoning for attempt in self.decision.attempts):
            return self
        attempts = tuple(msgspec.structs.replace(attempt, reasoning="") for attempt in self.decision.attempts)
        return msgspec.structs.replace(self, decision=msgspec.structs.replace(self.decision, attempts=attempts))


class Abilities(msgspec.Struct, frozen=True):
    """
    What a model is known to be able to do, and not: ``tools``, ``vision``, ``thinking``. The rest nobody says.

    *context*: tokens that prompt and answer may have at most; None where nobody says.
    """

    can: frozenset[str] = frozenset()
    cannot: frozenset[str] = frozenset()
    context: int | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a backend says of one of its models; None where it does not say.

    Attributes:
        name: as the backend lists it.
        context: tokens of context it has now or, if it is not loaded, can have at most.
        capabilities: of ``completion``, ``embedding``, ``tools``, ``vision``, ``thinking``, and words we do not know.
        family: the architecture, e.g. ``qwen3``.
        size: bytes on disk.
        loaded: whether it is in memory.
        slots: calls it works on at once.
        remote: it runs on another machine, and is never loaded here.
    """

    name: str
    context: int | None = None
    capabilities: frozenset[str] | None = None
    family: str = ""
    size: int | None = None
    loaded: bool | None = None
    slots: int | None = None
    remote: bool = False

    @property
    def can_chat(self) -> bool:
        """Whether it answers questions, as far as is known."""
        return self.capabilities is None or "completion" in self.capabilities


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
        facts: what the backend says of this model.
    """

    name: str
    model: str
    condition: Condition
    detail: str = ""
    hint: str = ""
    loaded: tuple[str, ...] = ()
    facts: ModelFacts | None = None


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One model on disk. *size* in bytes, *place* a path or an address; *any_name*: it answers to every name."""

    name: str
    size: int | None
    place: str
    loaded: bool = False
    any_name: bool = False
    digest: str = ""
    detail: dict[str, Json] = msgspec.field(default_factory=dict)


class PullProgress(msgspec.Struct, frozen=True):
    """One step of a pull: *done* and *total* in bytes of the part being fetched; total None while unknown."""

    status: str
    done: int = 0
    total: int | None = None

from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    EXPAND_QUERIES: _ClassVar[Task]
    SITE_TACTICS: _ClassVar[Task]
    RERANK_CANDIDATES: _ClassVar[Task]
    TASK_JUDGE: _ClassVar[Task]
    RECOVERY_PLAN: _ClassVar[Task]
    ENRICH_METADATA: _ClassVar[Task]

class Strategy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STRATEGY_UNSPECIFIED: _ClassVar[Strategy]
    FASTEST: _ClassVar[Strategy]
    VOTING: _ClassVar[Strategy]
    WEIGHTED: _ClassVar[Strategy]
    CONSENSUS: _ClassVar[Strategy]
    JUDGE: _ClassVar[Strategy]
TASK_UNSPECIFIED: Task
EXPAND_QUERIES: Task
SITE_TACTICS: Task
RERANK_CANDIDATES: Task
TASK_JUDGE: Task
RECOVERY_PLAN: Task
ENRICH_METADATA: Task
STRATEGY_UNSPECIFIED: Strategy
FASTEST: Strategy
VOTING: Strategy
WEIGHTED: Strategy
CONSENSUS: Strategy
JUDGE: Strategy

class Query(_message.Message):
    __slots__ = ("request_id", "tenant_id", "project_id", "task", "prompt", "max_tokens", "deadline_ms", "strategy", "meta", "task_name", "no_cache", "think", "turns", "output_schema", "temperature", "seed", "stop", "providers", "tools", "tool_choice", "parallel_tool_calls", "images")
    class MetaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    TASK_NAME_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    THINK_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    tenant_id: str
    project_id: str
    task: Task
    prompt: str
    max_tokens: int
    deadline_ms: int
    strategy: Strategy
    meta: _containers.ScalarMap[str, str]
    task_name: str
    no_cache: bool
    think: str
    turns: _containers.RepeatedCompositeFieldContainer[Turn]
    output_schema: str
    temperature: float
    seed: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    providers: _containers.RepeatedScalarFieldContainer[str]
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    tool_choice: str
    parallel_tool_calls: bool
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, request_id: _Optional[str] = ..., tenant_id: _Optional[str] = ..., project_id: _Optional[str] = ..., task: _Optional[_Union[Task, str]] = ..., prompt: _Optional[str] = ..., max_tokens: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., strategy: _Optional[_Union[Strategy, str]] = ..., meta: _Optional[_Mapping[str, str]] = ..., task_name: _Optional[str] = ..., no_cache: _Optional[bool] = ..., think: _Optional[str] = ..., turns: _Optional[_Iterable[_Union[Turn, _Mapping[str, object]]]] = ..., output_schema: _Optional[str] = ..., temperature: _Optional[float] = ..., seed: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., providers: _Optional[_Iterable[str]] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping[str, object]]]] = ..., tool_choice: _Optional[str] = ..., parallel_tool_calls: _Optional[bool] = ..., images: _Optional[_Iterable[_Union[Image, _Mapping[str, object]]]] = ...) -> None: ...

class Turn(_message.Message):
    __slots__ = ("role", "text", "tool_calls", "tool_call_id", "images")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    role: str
    text: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    tool_call_id: str
    images: _containers.RepeatedCompositeFieldContainer[Image]
    def __init__(self, role: _Optional[str] = ..., text: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping[str, object]]]] = ..., tool_call_id: _Optional[str] = ..., images: _Optional[_Iterable[_Union[Image, _Mapping[str, object]]]] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "description", "parameters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters: _Optional[str] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("id", "name", "arguments")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    arguments: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("media_type", "data")
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    media_type: str
    data: bytes
    def __init__(self, media_type: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("request_id", "content", "winner_model", "duration_ms", "from_cache", "decision", "meta", "json", "task_name", "winner", "strategy_used", "degraded", "usage", "duration", "age_ms", "finish", "tool_calls")
    class MetaEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    WINNER_MODEL_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    FROM_CACHE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    META_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    TASK_NAME_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_USED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    content: str
    winner_model: str
    duration_ms: int
    from_cache: bool
    decision: EnsembleDecision
    meta: _containers.ScalarMap[str, str]
    json: str
    task_name: str
    winner: str
    strategy_used: Strategy
    degraded: bool
    usage: Usage
    duration: float
    age_ms: float
    finish: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    def __init__(self, request_id: _Optional[str] = ..., content: _Optional[str] = ..., winner_model: _Optional[str] = ..., duration_ms: _Optional[int] = ..., from_cache: _Optional[bool] = ..., decision: _Optional[_Union[EnsembleDecision, _Mapping[str, object]]] = ..., meta: _Optional[_Mapping[str, str]] = ..., json: _Optional[str] = ..., task_name: _Optional[str] = ..., winner: _Optional[str] = ..., strategy_used: _Optional[_Union[Strategy, str]] = ..., degraded: _Optional[bool] = ..., usage: _Optional[_Union[Usage, _Mapping[str, object]]] = ..., duration: _Optional[float] = ..., age_ms: _Optional[float] = ..., finish: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping[str, object]]]] = ...) -> None: ...

class EnsembleDecision(_message.Message):
    __slots__ = ("strategy_used", "models_queried", "model_scores", "reason", "strategy_asked", "winner", "scores", "agreement", "clusters", "notes", "saved_calls", "degraded", "degraded_reason", "missing", "judge", "attempts", "margin", "confidence")
    class ScoresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STRATEGY_USED_FIELD_NUMBER: _ClassVar[int]
    MODELS_QUERIED_FIELD_NUMBER: _ClassVar[int]
    MODEL_SCORES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_ASKED_FIELD_NUMBER: _ClassVar[int]
    WINNER_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    SAVED_CALLS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_REASON_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    JUDGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    strategy_used: Strategy
    models_queried: _containers.RepeatedScalarFieldContainer[str]
    model_scores: _containers.RepeatedScalarFieldContainer[float]
    reason: str
    strategy_asked: Strategy
    winner: str
    scores: _containers.ScalarMap[str, float]
    agreement: float
    clusters: _containers.RepeatedCompositeFieldContainer[Cluster]
    notes: _containers.RepeatedScalarFieldContainer[str]
    saved_calls: int
    degraded: bool
    degraded_reason: str
    missing: _containers.RepeatedScalarFieldContainer[str]
    judge: str
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    margin: float
    confidence: float
    def __init__(self, strategy_used: _Optional[_Union[Strategy, str]] = ..., models_queried: _Optional[_Iterable[str]] = ..., model_scores: _Optional[_Iterable[float]] = ..., reason: _Optional[str] = ..., strategy_asked: _Optional[_Union[Strategy, str]] = ..., winner: _Optional[str] = ..., scores: _Optional[_Mapping[str, float]] = ..., agreement: _Optional[float] = ..., clusters: _Optional[_Iterable[_Union[Cluster, _Mapping[str, object]]]] = ..., notes: _Optional[_Iterable[str]] = ..., saved_calls: _Optional[int] = ..., degraded: _Optional[bool] = ..., degraded_reason: _Optional[str] = ..., missing: _Optional[_Iterable[str]] = ..., judge: _Optional[str] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping[str, object]]]] = ..., margin: _Optional[float] = ..., confidence: _Optional[float] = ...) -> None: ...

class Cluster(_message.Message):
    __slots__ = ("providers", "score", "label")
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    providers: _containers.RepeatedScalarFieldContainer[str]
    score: float
    label: str
    def __init__(self, providers: _Optional[_Iterable[str]] = ..., score: _Optional[float] = ..., label: _Optional[str] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("provider", "model", "outcome", "why", "started_ms", "ttft_ms", "duration_ms", "prompt_tokens", "completion_tokens", "repaired_by", "error", "error_kind", "finish", "reasoning", "queued_ms")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    TTFT_MS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_BY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ERROR_KIND_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_MS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    outcome: str
    why: str
    started_ms: float
    ttft_ms: float
    duration_ms: float
    prompt_tokens: int
    completion_tokens: int
    repaired_by: str
    error: str
    error_kind: str
    finish: str
    reasoning: str
    queued_ms: float
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ..., outcome: _Optional[str] = ..., why: _Optional[str] = ..., started_ms: _Optional[float] = ..., ttft_ms: _Optional[float] = ..., duration_ms: _Optional[float] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., repaired_by: _Optional[str] = ..., error: _Optional[str] = ..., error_kind: _Optional[str] = ..., finish: _Optional[str] = ..., reasoning: _Optional[str] = ..., queued_ms: _Optional[float] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ...) -> None: ...

class AnswerChunk(_message.Message):
    __slots__ = ("request_id", "delta", "answer", "attempt", "start", "loading", "waiting", "candidate", "reasoning", "tool_call")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LOADING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    delta: Delta
    answer: Answer
    attempt: Attempt
    start: Start
    loading: Loading
    waiting: Waiting
    candidate: Candidate
    reasoning: Reasoning
    tool_call: ToolCallPiece
    def __init__(self, request_id: _Optional[str] = ..., delta: _Optional[_Union[Delta, _Mapping[str, object]]] = ..., answer: _Optional[_Union[Answer, _Mapping[str, object]]] = ..., attempt: _Optional[_Union[Attempt, _Mapping[str, object]]] = ..., start: _Optional[_Union[Start, _Mapping[str, object]]] = ..., loading: _Optional[_Union[Loading, _Mapping[str, object]]] = ..., waiting: _Optional[_Union[Waiting, _Mapping[str, object]]] = ..., candidate: _Optional[_Union[Candidate, _Mapping[str, object]]] = ..., reasoning: _Optional[_Union[Reasoning, _Mapping[str, object]]] = ..., tool_call: _Optional[_Union[ToolCallPiece, _Mapping[str, object]]] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("provider", "text", "final")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    provider: str
    text: str
    final: bool
    def __init__(self, provider: _Optional[str] = ..., text: _Optional[str] = ..., final: _Optional[bool] = ...) -> None: ...

class Reasoning(_message.Message):
    __slots__ = ("provider", "text")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    provider: str
    text: str
    def __init__(self, provider: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class ToolCallPiece(_message.Message):
    __slots__ = ("provider", "index", "id", "name", "arguments", "final")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    provider: str
    index: int
    id: str
    name: str
    arguments: str
    final: bool
    def __init__(self, provider: _Optional[str] = ..., index: _Optional[int] = ..., id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[str] = ..., final: _Optional[bool] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("provider", "model", "content", "json", "leading", "tool_calls")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    content: str
    json: str
    leading: bool
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ..., content: _Optional[str] = ..., json: _Optional[str] = ..., leading: _Optional[bool] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping[str, object]]]] = ...) -> None: ...

class Waiting(_message.Message):
    __slots__ = ("provider", "group", "ahead")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    provider: str
    group: str
    ahead: int
    def __init__(self, provider: _Optional[str] = ..., group: _Optional[str] = ..., ahead: _Optional[int] = ...) -> None: ...

class Start(_message.Message):
    __slots__ = ("provider", "model", "why", "after_ms")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    why: str
    after_ms: float
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ..., why: _Optional[str] = ..., after_ms: _Optional[float] = ...) -> None: ...

class Loading(_message.Message):
    __slots__ = ("provider", "model")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    provider: str
    model: str
    def __init__(self, provider: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class HealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthResponse(_message.Message):
    __slots__ = ("healthy", "provider_status", "version", "providers")
    class ProviderStatusEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDERS_FIELD_NUMBER: _ClassVar[int]
    healthy: bool
    provider_status: _containers.ScalarMap[str, str]
    version: str
    providers: _containers.RepeatedCompositeFieldContainer[ProviderState]
    def __init__(self, healthy: _Optional[bool] = ..., provider_status: _Optional[_Mapping[str, str]] = ..., version: _Optional[str] = ..., providers: _Optional[_Iterable[_Union[ProviderState, _Mapping[str, object]]]] = ...) -> None: ...

class ProviderState(_message.Message):
    __slots__ = ("name", "model", "state", "detail", "hint", "loaded")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    name: str
    model: str
    state: str
    detail: str
    hint: str
    loaded: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., model: _Optional[str] = ..., state: _Optional[str] = ..., detail: _Optional[str] = ..., hint: _Optional[str] = ..., loaded: _Optional[_Iterable[str]] = ...) -> None: ...

class FeedbackRequest(_message.Message):
    __slots__ = ("request_id", "good")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GOOD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    good: bool
    def __init__(self, request_id: _Optional[str] = ..., good: _Optional[bool] = ...) -> None: ...

class FeedbackResponse(_message.Message):
    __slots__ = ("learned",)
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    learned: bool
    def __init__(self, learned: _Optional[bool] = ...) -> None: ...

"""
What ``llm-pool.toml`` may say. Each key is documented here and nowhere else.

The structs use TOML's own words and units; a property without the suffix gives seconds, so milliseconds end
here. ``config show``, ``config explain``, ``docs/configuration.md`` and the JSON Schema are all made from these
structs: the type and its ``Meta`` say type, range, unit and meaning, the field its default.

This module does without ``from __future__ import annotations``: msgspec would compile each annotation again at
start-up, which costs more than reading the file.
"""

from typing import Annotated, Any, Literal

import msgspec

from llm_pool.config.values import (
    Algorithm,
    CacheDriver,
    Driver,
    Hedge,
    KeyField,
    LogFormat,
    Scope,
    Secret,
    StreamFormat,
)
from llm_pool.core.messages import StrategyName

DAY_MS = 86_400_000
YEAR_SECONDS = 31_536_000
EMBED = "embed"
"""The task of a model that makes embeddings."""
ANY_TENANT = "*"
"""In ``[tenancy]``: the tenants that are not named there."""


def _doc(description: str, *examples: Any, **extra: Any) -> msgspec.Meta:
    """Documents a key. *extra* may hold ``unit``, ``want`` (for errors), ``drivers`` (that read the key)."""
    return msgspec.Meta(description=description, examples=list(examples) or None, extra=extra or None)


_Ms = Annotated[int, msgspec.Meta(ge=1, le=DAY_MS, extra={"unit": "ms"})]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=YEAR_SECONDS, extra={"unit": "s"})]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Address = Annotated[str, msgspec.Meta(pattern=r"^[^\s/]+:[0-9]{1,5}$(?!\n)", extra={"want": 'an address "host:port"'})]
_HostName = Annotated[
    str,
    msgspec.Meta(pattern=r"^[a-z0-9.-]{1,253}$(?!\n)", extra={"want": "a host's name in lower case, without port"}),
]
_Origin = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?:https?://[a-z0-9.\-\[\]:]{1,260}|(?!https?:)[a-z][a-z0-9+.-]{0,63}://(?:\*|[!-)+-.0-~]{0,260}))$(?!\n)",
        extra={"want": 'an origin in lower case, "https://host", or "scheme://*" for an app\'s own scheme'},
    ),
]
_Url = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://[^\s@\\]+$(?!\n)",
        extra={"want": 'an address "http://host:port", without a password'},
    ),
]
_Think = Annotated[
    bool | Literal["low", "medium", "high"], msgspec.Meta(extra={"want": 'true, false, "low", "medium" or "high"'})
]
_HeaderName = Annotated[
    str,
    msgspec.Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$(?!\n)", extra={"want": "the name of an HTTP header"}),
]
_KeepAlive = Annotated[
    Annotated[str, msgspec.Meta(pattern=r"^[+-]?(?:[0-9.]+(?:ns|us|µs|ms|s|m|h))+$(?!\n)|^[+-]?[0-9.]+$(?!\n)")]
    | int
    | float,
    msgspec.Meta(extra={"want": 'a duration such as "30m" or "1h30m", or seconds'}),
]
_HTTP_DRIVERS = ("ollama", "openai", "http")
_TaskName = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)", extra={"want": "a task's name: letters, digits, _ and -"}),
]
_ProviderName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$(?!\n)",
        extra={"want": "a short name: letters, digits, . _ : and -"},
    ),
]


_ModelName = Annotated[
    str, msgspec.Meta(pattern=r"^[!-~]{1,128}$(?!\n)", extra={"want": "a model's name without spaces, in plain ASCII"})
]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table."""


class ServerSettings(_Table, frozen=True):
    """The daemon's HTTP and gRPC servers. Loopback by default: other machines reach it only if you say so."""

    grpc_addr: Annotated[_Address, _doc("Where gRPC listens.", "0.0.0.0:7070")] = "127.0.0.1:7070"
    http_addr: Annotated[_Address, _doc("Where HTTP listens.", "0.0.0.0:7071")] = "127.0.0.1:7071"
    listen_addr: Annotated[
        _Address | None, _doc("Another name for `http_addr`; give one of the two.", "127.0.0.1:7071")
    ] = None
    hosts: Annotated[
        tuple[_HostName, ...],
        _doc(
            "Further names of this daemon and of web pages that may ask it, without port. Counts while clients need "
            "not prove who they are: any other `Host` or `Origin` than loopback is then refused.",
            ["pool.example"],
        ),
    ] = ()
    origins: Annotated[
        tuple[_Origin, ...],
        _doc(
            "Origins of web pages and apps that may ask and read answers, beside pages of this machine and of `hosts`: "
            "`https://app.example`, `tauri://localhost`, `app://obsidian.md`; `vscode-webview://*` is every one of an "
            "app's own scheme.",
            ["https://app.example", "vscode-webview://*"],
        ),
    ] = ()
    enable_grpc: Annotated[bool, _doc("Whether gRPC is served.")] = True
    enable_http: Annotated[bool, _doc("Whether HTTP is served.")] = True
    warm: Annotated[
        bool,
        _doc(
            "Load what will be asked when the daemon starts, behind the scenes: of each machine the first model of "
            "this file, and those that surely fit beside it."
        ),
    ] = True
    tls_cert: Annotated[
        str | None,
        _doc("PEM file of the certificate and its chain, for HTTP and gRPC; reloaded when renewed.", "tls/cert.pem"),
    ] = None
    tls_key: Annotated[str | None, _doc("PEM file of its key; unset: it stands in `tls_cert`.", "tls/key.pem")] = None
    client_ca: Annotated[
        str | None,
        _doc("PEM file of authorities; only clients with a certificate of theirs may connect.", "tls/clients.pem"),
    ] = None

    def __post_init__(self) -> None:
        if self.listen_addr is not None:
            msgspec.structs.force_setattr(self, "http_addr", self.listen_addr)


class QosSettings(_Table, frozen=True):
    """Limits on a request, and what may be spent beyond its first attempt."""

    max_deadline_ms: Annotated[
        _Ms | None,
        _doc(
            "The longest deadline a request may ask for, and what it gets if it asks for none. A task's own "
            "`deadline_ms` may be longer. Unset: a request gets what it asks for; one that asks for nothing gets 60 s "
            "for a plain question, 1500 ms for a task.",
            1500,
        ),
    ] = None
    max_prompt_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1 << 30, extra={"unit": "bytes"})],
        _doc(
            "The longest input of a task, in UTF-8. Plain questions and conversations may fill the models' context. A "
            "request over HTTP or gRPC may have six times as many bytes as this in all, and at least 4 MiB."
        ),
    ] = 16384
    max_tokens_default: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "tokens"})],
        _doc(
            "Length of an answer to a task with a schema where neither request nor task says. Text may go on to its "
            "end, and so may the answer to a plain question."
        ),
    ] = 256
    think_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "tokens"})],
        _doc(
            "What a model that may think is given for that beside the length of its answer; a quarter of it with "
            '`think = "low"`, four times as much with `"high"`.'
        ),
    ] = 4096
    hedge: Annotated[
        Hedge,
        _doc(
            "When FASTEST asks a second provider beside a silent first one: `fixed` after `hedge_after_ms`; `auto` "
            "after the provider's own 95th percentile of time to first token; `off` never."
        ),
    ] = Hedge.FIXED
    hedge_after_ms: Annotated[
        _Ms,
        _doc(
            "Silence after which a provider counts as late, at most half of the time left. With `auto`: until enough "
            "is known."
        ),
    ] = 300
    budget_ratio: Annotated[
        _Share,
        _doc("Further attempts (hedges, retries, failovers together) as a share of requests."),
    ] = 0.1
    budget_floor: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=1000, extra={"unit": "attempts per second"})],
        _doc("Further attempts that are allowed however few requests there are."),
    ] = 0.5
    queue_limit: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=100_000, extra={"unit": "requests"})],
        _doc("Requests that may wait for a group's slots. More are refused at once, with a time to come back."),
    ] = 64
    batch_wait_ms: Annotated[
        _Ms,
        _doc(
            "How long requests for the model that is loaded may go before one that waits for another model of the "
            "same group."
        ),
    ] = 2000

    @property
    def max_deadline(self) -> float | None:
        """Seconds; None: a request gets what it asks for."""
        return None if self.max_deadline_ms is None else self.max_deadline_ms / 1000

    @property
    def hedge_after(self) -> float:
        """Seconds."""
        return self.hedge_after_ms / 1000

    @property
    def batch_wait(self) -> float:
        """Seconds."""
        return self.batch_wait_ms / 1000


class ConsensusSettings(_Table, frozen=True):
    """When CONSENSUS answers, and what happens when the panel disagrees."""

    min_agreement: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)] | None,
        _doc(
            "Share of all who were asked that must say the same. Unset: all of a panel of up to three, four fifths "
            "of a larger one.",
            0.66,
        ),
    ] = None
    min_confidence: Annotated[
        Annotated[float, msgspec.Meta(gt=0, lt=1)] | None,
        _doc(
            "Share of all its answers that must be right, as learned from feedback: the margin of WEIGHTED's votes "
            "then decides in the place of `min_agreement`. For tasks of kind `value`; until 30 answers of the task "
            "are labelled `min_agreement` decides.",
            0.95,
        ),
    ] = None
    quorum: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=64, extra={"unit": "providers"})] | None,
        _doc("Valid answers that must be in, whatever they say. Unset: more than half of the panel.", 2),
    ] = None
    entailment: Annotated[
        bool,
        _doc(
            "Ask a judge whether free texts that no rule can tell apart say the same: a token for each direction, two "
            "for each text that may agree with the first. False: they count as different answers."
        ),
    ] = False
    strict: Annotated[bool, _doc("Fail with NoConsensus instead of trying `fallback`.")] = False
    fallback: Annotated[
        tuple[StrategyName, ...],
        _doc("Strategies tried in turn on the answers that are in, within the time left."),
    ] = (StrategyName.JUDGE, StrategyName.VOTING, StrategyName.WEIGHTED, StrategyName.FASTEST)


class EnsembleSettings(_Table, frozen=True):
    """Which strategy decides."""

    default_strategy: Annotated[StrategyName, _doc("For requests and tasks that name none.")] = StrategyName.FASTEST
    strategy_by_task: Annotated[
        dict[_TaskName, StrategyName], _doc("A task's strategy.", {"site_tactics": "JUDGE"})
    ] = {}
    disabled: Annotated[
        tuple[StrategyName, ...],
        _doc("Kill switch: requests for these are refused, tasks that use one take the default.", ["JUDGE"]),
    ] = ()
    consensus: ConsensusSettings = ConsensusSettings()


class BreakerSettings(_Table, frozen=True):
    """One circuit breaker for each provider and task. Only failures that say the backend is ill count."""

    fail_rate: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)],
        _doc("Share of failures in the window that opens the breaker."),
    ] = 0.10
    window_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000, extra={"unit": "attempts"})], _doc("Attempts looked back on.")
    ] = 50
    min_calls: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000, extra={"unit": "attempts"})],
        _doc("Attempts that must be in the window before it may open; a full window is always enough."),
    ] = 5
    open_cooldown_ms: Annotated[
        _Ms, _doc("How long it stays open the first time. Each failed probe doubles it, with jitter.")
    ] = 300_000
    max_cooldown_ms: Annotated[_Ms, _doc("Where doubling stops; less than `open_cooldown_ms`: no doubling.")] = (
        1_200_000
    )
    probe_timeout_ms: Annotated[
        _Ms, _doc("How long the one probe of a half-open breaker may take before it counts as failed.")
    ] = 30_000

    @property
    def open_cooldown(self) -> float:
        """Seconds."""
        return self.open_cooldown_ms / 1000

    @property
    def max_cooldown(self) -> float:
        """Seconds."""
        return self.max_cooldown_ms / 1000

    @property
    def probe_timeout(self) -> float:
        """Seconds."""
        return self.probe_timeout_ms / 1000


class CacheSettings(_Table, frozen=True):
    """Answers given again. Errors, partial and degraded answers are never kept."""

    enabled: Annotated[bool, _doc("Whether answers are kept at all.")] = True
    driver: Annotated[CacheDriver, _doc("`memory` in this process; `redis` shared between processes.")] = (
        CacheDriver.MEMORY
    )
    url: Annotated[
        Secret | None,
        _doc(
            "The Redis server; needed with `redis`. Kept secret, as it may hold a password.", "redis://127.0.0.1:6379/0"
        ),
    ] = None
    ttl_seconds: Annotated[_Seconds, _doc("How long an answer is good for. A task may say otherwise.")] = 900
    key_fields: Annotated[
        tuple[KeyField, ...],
        _doc(
            "What must be equal for two requests to share an answer; `task` and `prompt` always. Strategy, panel, "
            "prompt version, parameters and tenant always count too."
        ),
    ] = (KeyField.TASK, KeyField.PROMPT, KeyField.MAX_TOKENS)
    max_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=1024, le=1 << 40, extra={"unit": "bytes"})],
        _doc("Size of the memory cache; the least recently used answers go first."),
    ] = 64 << 20

    @property
    def ttl(self) -> float:
        """Seconds."""
        return float(self.ttl_seconds)


class IdempotencySettings(_Table, frozen=True):
    """The same request_id again gives the same answer."""

    ttl_seconds: Annotated[_Seconds, _doc("How long a request_id is remembered.")] = 900

    @property
    def ttl(self) -> float:
        """Seconds."""
        return float(self.ttl_seconds)


class HttpRequestSettings(_Table, frozen=True):
    """
    How a `http` provider is asked.

    Placeholders in the strings of `body`: `{prompt}`; `{system}` and `{user}`, its two parts; `{model}`,
    `{max_tokens}`, `{temperature}`, `{seed}`, `{stop}`, `{schema}`, `{think}`. A string that is one placeholder alone
    becomes the value with its own type; in a longer one stands its text, or its JSON. A member whose value there is
    none of, such as an answer's length that nobody limits, is left out.
    """

    path: Annotated[str, _doc("Appended to `base_url`.", "/generate")] = "/"
    headers: Annotated[dict[str, Secret], _doc("Sent along.", {"Authorization": "Bearer ${env:MY_KEY}"})] = {}
    body: Annotated[
        dict[str, Any], _doc("The JSON body.", {"inputs": "{prompt}", "parameters": {"max_new_tokens": "{max_tokens}"}})
    ] = msgspec.field(default_factory=lambda: {"prompt": "{prompt}"})


class HttpResponseSettings(_Table, frozen=True):
    """Where a `http` provider's answer is found. Paths go through JSON by dots: `choices.0.text`."""

    format: Annotated[
        StreamFormat, _doc("`json` one object; `lines` one object a line; `events` server-sent events.")
    ] = StreamFormat.JSON
    text: Annotated[str, _doc("Path of the text, or of each piece of it.", "choices.0.text")] = "text"
    error: Annotated[str, _doc("Path of an error message; where it is present the call failed.")] = "error"
    done: Annotated[
        str,
        _doc("Path of what is true in the last object of a stream; empty: the end of the HTTP body says it.", "done"),
    ] = ""


class ProviderSettings(_Table, frozen=True):
    """
    One model that answers. The order of the file is the order of preference, and breaks ties.

    A provider with `tasks` serves these; one without serves every task. The plain question (task `ask`) goes to
    the providers that list it or, if none does, to all that are no last resort. With `embed` among its tasks a model
    makes embeddings, and with that alone nothing else; drivers `ollama` and `openai` do that.
    """

    name: Annotated[_ProviderName, _doc("What it is called in answers, logs and errors.", "llama31")]
    driver: Annotated[Driver, _doc("What it speaks. vLLM, llama-server, LM Studio and SGLang speak `openai`.")]
    model: Annotated[
        Annotated[str, msgspec.Meta(min_length=1, extra={"want": "a model's name"})],
        _doc(
            "The backend's name for the model; with `llamacpp` a GGUF file or a name in the model folder.",
            "llama3.1:8b",
        ),
    ]
    base_url: Annotated[
        _Url | None,
        _doc(
            "Where the backend listens. A path is taken as it is; `openai` adds `/v1` to an address without one.",
            "http://127.0.0.1:11434",
            drivers=_HTTP_DRIVERS,
        ),
    ] = None
    tasks: Annotated[tuple[_TaskName, ...], _doc("Tasks it serves; empty: all.", ["expand_queries", "judge"])] = ()
    weight: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1000)],
        _doc("Its say in VOTING, WEIGHTED and CONSENSUS, relative to the others."),
    ] = 1.0
    timeout_ms: Annotated[
        _Ms | None, _doc("The longest one attempt may take; unset: what is left of the deadline.", 5000)
    ] = None
    retries: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=4)],
        _doc("Further attempts on the same provider after a failure before the first token, within the budget."),
    ] = 1
    group: Annotated[
        str | None,
        _doc(
            "Providers of one group share a machine. Unset: those with the same `base_url` do, and embedded ones do.",
            "gpu0",
        ),
    ] = None
    api_key: Annotated[
        Secret | None, _doc("Sent as a bearer token.", "${env:VLLM_API_KEY}", drivers=("ollama", "openai"))
    ] = None
    headers: Annotated[
        dict[_HeaderName, Secret],
        _doc("Sent with every request; never shown.", {"X-Api-Key": "${env:MY_KEY}"}, drivers=_HTTP_DRIVERS),
    ] = {}
    extra_body: Annotated[
        dict[str, Any],
        _doc(
            "JSON that is merged into the body of every question, after everything else.",
            {"options": {"num_gpu": 20}},
            drivers=_HTTP_DRIVERS,
        ),
    ] = {}
    ca_file: Annotated[
        str | None,
        _doc(
            "PEM file of the authorities that the backend's certificate may be from, instead of the system's; relative "
            "to this file.",
            "tls/ca.pem",
            drivers=_HTTP_DRIVERS,
        ),
    ] = None
    client_cert: Annotated[
        str | None,
        _doc(
            "PEM file of the certificate that is shown to the backend, and its chain.",
            "tls/me.pem",
            drivers=_HTTP_DRIVERS,
        ),
    ] = None
    client_key: Annotated[
        str | None,
        _doc("PEM file of its key; unset: it stands in `client_cert`.", "tls/me.key", drivers=_HTTP_DRIVERS),
    ] = None
    think: Annotated[
        _Think | None,
        _doc(
            "Whether the model thinks before it answers, and how long; a request and a task say so before it. Unset: "
            "not where JSON is asked for, else as the backend is set up.",
            False,
            drivers=_HTTP_DRIVERS,
        ),
    ] = None
    last_resort: Annotated[
        bool, _doc("Asked only when no other provider for the task can answer; the answer then says `degraded`.")
    ] = False
    enabled: Annotated[bool, _doc("Kill switch: a provider that is off is left out as if it were not in the file.")] = (
        True
    )
    prompt_variant: Annotated[
        str | None,
        _doc("Folder under `prompts/` with other phrasings of the tasks, for a model that needs them.", "small"),
    ] = None
    keep_alive: Annotated[
        _KeepAlive | None,
        _doc(
            "How long Ollama keeps the model loaded after a call: a duration, or seconds; -1 for ever, 0 not at all. "
            "Unset: as Ollama is set up.",
            "30m",
            drivers=("ollama",),
        ),
    ] = None
    context: Annotated[
        Annotated[int, msgspec.Meta(ge=64, le=1 << 22, extra={"unit": "tokens"})] | None,
        _doc(
            "Length of the model's context. Unset: the embedded engine takes the model's own, at most 8192; Ollama is "
            "asked for more than its default where a prompt needs it; of other backends it is what they say.",
            4096,
        ),
    ] = None
    threads: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1024)] | None,
        _doc(
            "CPU threads of the embedded engine; unset: as many as there are cores, and one for a model under 64 MB.",
            4,
            drivers=("llamacpp",),
        ),
    ] = None
    request: Annotated[HttpRequestSettings | None, _doc("How it is asked.", drivers=("http",))] = None
    response: Annotated[HttpResponseSettings | None, _doc("Where its answer is found.", drivers=("http",))] = None

    @property
    def timeout(self) -> float | None:
        """Seconds; None: no limit of its own."""
        return None if self.timeout_ms is None else self.timeout_ms / 1000

    @property
    def machine(self) -> str:
        """The group it belongs to."""
        return self.group or (self.base_url or "embedded").rstrip("/")


class JudgeSettings(_Table, frozen=True):
    """How JUDGE picks among candidates."""

    model_provider: Annotated[
        str | tuple[str, ...] | None,
        _doc("The provider that judges; a list is a panel of judges. Unset: the heaviest one of the task.", "llama31"),
    ] = None
    max_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=100_000, extra={"unit": "tokens"})], _doc("Length of a verdict.")
    ] = 128
    deadline_ms: Annotated[_Ms, _doc("The longest a verdict may take.")] = 700
    share: Annotated[
        Annotated[float, msgspec.Meta(gt=0, lt=1)],
        _doc("The candidates' share of the deadline; the rest is the judge's, up to `deadline_ms`."),
    ] = 0.7
    fallback_strategy: Annotated[
        StrategyName, _doc("Decides when the judge fails, is late or answers nonsense: FASTEST, VOTING or WEIGHTED.")
    ] = StrategyName.VOTING

    @property
    def deadline(self) -> float:
        """Seconds: a span, from the moment the judge is asked."""
        return self.deadline_ms / 1000

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the judging providers; empty: the strategy chooses."""
        if self.model_provider is None:
            return ()
        return (self.model_provider,) if isinstance(self.model_provider, str) else self.model_provider


class DiscoverySettings(_Table, frozen=True):
    """
    Models that serve in the place of missing ones.

    Where a model below is not installed, those that this machine has serve its tasks, before any last resort: of
    Ollama (at `OLLAMA_HOST`, else port 11434), LM Studio (1234), llama-server and llama-swap (8080), vLLM (8000),
    SGLang (30000) and Jan (1337). They are asked at 127.0.0.1, and nobody else is. At most three are taken: of
    different families first, and such as fit the memory together. What was found is good for a minute. A file that
    `--config` or `LLM_POOL_CONFIG` names is taken as it is. `llm-pool config init` writes down what was found.
    """

    enabled: Annotated[
        bool, _doc("Whether they are looked for. The file that comes with llm-pool says true; a file of your own may.")
    ] = False
    timeout_ms: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=10_000, extra={"unit": "ms"})],
        _doc("How long the servers have to say which models they have, all together."),
    ] = 150

    @property
    def timeout(self) -> float:
        """Seconds."""
        return self.timeout_ms / 1000


class TrustSettings(_Table, frozen=True):
    """What is learned of each provider for each task, for WEIGHTED and JUDGE."""

    enabled: Annotated[bool, _doc("Whether anything is learned and kept in the user's state folder.")] = True


class GroupSettings(_Table, frozen=True):
    """One machine. The name is a provider's `group`, or the `base_url` it defaults to."""

    slots: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=4096, extra={"unit": "calls"})] | None,
        _doc(
            "Calls at once. One that goes silent lends its slot to another model that is loaded. Unset: what the "
            "server says, as llama-server does; for Ollama 1, and as many as are seen to run side by side; else 1 for "
            "embedded engines, 8 for servers that batch.",
            1,
        ),
    ] = None
    memory_mb: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1 << 30, extra={"unit": "MB"})] | None,
        _doc("Memory for models; a panel that does not fit runs with the loaded model first. Unset: unknown.", 16000),
    ] = None
    max_loaded: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1024, extra={"unit": "models"})] | None,
        _doc("Models in memory at once. Unset: learned from what Ollama lists.", 2),
    ] = None
    shared: Annotated[
        bool | None,
        _doc(
            "Whether other processes of this pool ask it too, so that its slots are counted in Redis for all of them. "
            "Unset: if there is a Redis, for every machine but this one (a loopback address, an embedded engine).",
            True,
        ),
    ] = None


class TaskSettings(_Table, frozen=True):
    """A kind of work. What is unset comes from its prompt file's front matter, then from the sections above."""

    prompt: Annotated[
        str | None, _doc("Its prompt file, relative to this file; unset: `prompts/<name>.md`.", "prompts/translate.md")
    ] = None
    strategy: Annotated[
        StrategyName | None, _doc("How it is decided; the same as `ensemble.strategy_by_task`.", "VOTING")
    ] = None
    providers: Annotated[tuple[str, ...], _doc("Asks these only, in the file's order; empty: all that serve it.")] = ()
    deadline_ms: Annotated[_Ms | None, _doc("Its deadline; may be longer than `qos.max_deadline_ms`.", 20000)] = None
    idle_ms: Annotated[
        _Ms | None,
        _doc(
            "How long an answer in free text that is streamed may pause. Once it has begun, this takes the place of "
            "the deadline, unless the request asked for one. Unset: 30 s for plain questions, and no such limit for "
            "tasks, whose deadline stays.",
            30000,
        ),
    ] = None
    max_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "tokens"})] | None,
        _doc("Length of an answer.", 512),
    ] = None
    temperature: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=2)] | None, _doc("Freedom of the models' wording; 0 is none.", 0.2)
    ] = None
    think: Annotated[
        _Think | None,
        _doc("Whether models think before they answer, and how long; a request says so before it.", "low"),
    ] = None
    ttl_seconds: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=YEAR_SECONDS, extra={"unit": "s"})] | None,
        _doc("How long its answers are kept in the cache; 0: never.", 3600),
    ] = None
    enabled: Annotated[bool, _doc("Kill switch: requests for a task that is off are refused.")] = True

    @property
    def deadline(self) -> float | None:
        """Seconds: a span, from admission."""
        return None if self.deadline_ms is None else self.deadline_ms / 1000

    @property
    def idle(self) -> float | None:
        """Seconds; None: nothing is said."""
        return None if self.idle_ms is None else self.idle_ms / 1000


class JwtSettings(_Table, frozen=True):
    """
    Whose tokens are taken.

    A token is sent as `Authorization: Bearer`, and says `tenant_id`, `scope` (of `infer`, `observe`, `operate`) and,
    if it is for one project only, `project_id`; `iss`, `aud`, `exp` and `nbf` must be there.
    """

    issuer: Annotated[str, _doc("Its `iss`, letter by letter.", "https://id.example.org")]
    audience: Annotated[str, _doc("What `aud` must name.", "llm-pool")]
    jwks_url: Annotated[
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^(https://[^\s@\\/]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^\s\\]*)?$(?!\n)",
                extra={"want": "an https address, or an http one on this machine"},
            ),
        ]
        | None,
        _doc("Where its public keys are; they are kept for ten minutes.", "https://id.example.org/jwks.json"),
    ] = None
    jwks_file: Annotated[str | None, _doc("A file with its public keys, instead of an address.", "jwks.json")] = None
    algorithms: Annotated[
        tuple[Algorithm, ...], _doc("How its tokens may be signed; there is no other way, whatever a token says.")
    ] = (Algorithm.RS256, Algorithm.ES256, Algorithm.EDDSA)


class SecuritySettings(_Table, frozen=True):
    """How clients of the daemon prove who they are. See docs/security.md."""

    audience: Annotated[
        Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,100}$(?!\n)", extra={"want": "a name without spaces"})],
        _doc("This service in every signature, so that a request signed for one deployment is good at no other."),
    ] = "llm-pool"
    keys_file: Annotated[
        str | None, _doc("The file that `llm-pool keys` writes; only its owner may read it.", "keys.json")
    ] = None
    redis_url: Annotated[
        Secret | None,
        _doc(
            "The Redis server for nonces and rates, where several processes serve the same clients; unset: the memory "
            "of this one.",
            "redis://127.0.0.1:6379/1",
        ),
    ] = None
    jwt: tuple[JwtSettings, ...] = ()


class TenantSettings(_Table, frozen=True):
    """
    A client of the daemon, and what it may have.

    With one of these, or with `security.jwt`, nobody comes in without proof. `[tenancy."*"]` stands for the tenants
    that a token names and this file does not; each of them has its limits for itself.
    """

    api_key: Annotated[
        Secret | None,
        _doc(
            "What it signs requests with, with its name as the key's id, or sends as a bearer key. Unset: it has keys "
            "in `security.keys_file`, or tokens.",
            "${file:secrets/acme.key}",
        ),
    ] = None
    next_api_key: Annotated[
        Secret | None, _doc("A second one that is just as good, while clients change over.", "${env:ACME_NEXT_KEY}")
    ] = None
    rate_limit_rps: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1_000_000, extra={"unit": "requests per second"})] | None,
        _doc("Requests it may send, on average; unset: no limit.", 10),
    ] = None
    rate_limit_burst: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "requests"})] | None,
        _doc("Requests it may send at once; unset: one second's worth.", 20),
    ] = None
    max_in_flight: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "requests"})] | None,
        _doc("Requests of its own that are answered at the same time, in each process; unset: no limit.", 8),
    ] = None
    tokens_per_day: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1 << 50, extra={"unit": "tokens"})] | None,
        _doc(
            "Tokens of prompts and answers, of all models it makes work, where providers count them. They refill "
            "evenly over the day; unset: no limit.",
            1_000_000,
        ),
    ] = None
    max_tokens: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1_000_000, extra={"unit": "tokens"})] | None,
        _doc("The longest answer it gets, whatever it asks for.", 512),
    ] = None
    max_deadline_ms: Annotated[_Ms | None, _doc("The longest deadline it gets, whatever it asks for.", 5000)] = None
    max_providers: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=64, extra={"unit": "providers"})] | None,
        _doc("Providers that work on one request of its own, the preferred ones; unset: all.", 2),
    ] = None
    tasks: Annotated[tuple[_TaskName, ...], _doc("Tasks it may ask for; empty: all.", ["expand_queries"])] = ()
    strategies: Annotated[
        tuple[StrategyName, ...],
        _doc(
            "Strategies it may ask for; empty: all. The first stands in where a task's own is not among them.",
            ["FASTEST"],
        ),
    ] = ()
    scopes: Annotated[
        tuple[Scope, ...],
        _doc(
            "What its keys are good for: `infer` asks; `observe` reads metrics and the past of all; `operate` changes "
            "something for others. Tokens say it themselves."
        ),
    ] = (Scope.INFER,)

    @property
    def max_deadline(self) -> float | None:
        """Seconds."""
        return None if self.max_deadline_ms is None else self.max_deadline_ms / 1000


class TelemetrySettings(_Table, frozen=True):
    """What the daemon tells of itself. Prompts and answers leave it only where you say so."""

    log_format: Annotated[
        LogFormat,
        _doc("`json` one object a line; `pretty` for people; `auto` is pretty on a terminal, JSON elsewhere."),
    ] = LogFormat.AUTO
    log_prompts: Annotated[bool, _doc("Whether log lines hold prompts and answers.")] = False
    metrics: Annotated[bool, _doc("Whether `/metrics` is served, for Prometheus.")] = True
    page: Annotated[bool, _doc("Whether the status page is served at `/`.")] = True
    recent: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=10_000, extra={"unit": "requests"})],
        _doc("Requests that ended which the status page still shows."),
    ] = 200
    capture: Annotated[
        bool, _doc("Whether the status page shows prompts and answers of those; each tenant sees its own.")
    ] = False
    traces: Annotated[
        _Url | None,
        _doc(
            "Where OpenTelemetry spans go, by OTLP over HTTP. Needs the extra `otel`. Unset: nowhere.",
            "http://127.0.0.1:4318/v1/traces",
        ),
    ] = None
    trace_share: Annotated[
        _Share, _doc("Share of requests that are traced; a client that sends a trace context decides for itself.")
    ] = 1.0


class Sections(_Table, frozen=True):
    """The tables of the file."""

    server: ServerSettings = ServerSettings()
    qos: QosSettings = QosSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    breaker: BreakerSettings = BreakerSettings()
    cache: CacheSettings = CacheSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    providers: tuple[ProviderSettings, ...] = ()
    judge: JudgeSettings = JudgeSettings()
    trust: TrustSettings = TrustSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    groups: dict[str, GroupSettings] = {}
    discovery: DiscoverySettings = DiscoverySettings()
    tasks: dict[_TaskName, TaskSettings] = {}
    security: SecuritySettings = SecuritySettings()
    tenancy: dict[str, TenantSettings] = {}
    models: Annotated[
        dict[
            _ModelName,
            Annotated[
                str,
                _doc(
                    "The model it stands for: `pool`, `pool/judge` and the like, `pool/task/NAME`, a provider's name, "
                    "or another of these names.",
                    "pool/judge",
                ),
            ],
        ],
        _doc(
            "Further names of models, for clients that ask for one by name: they stay good when a provider is renamed."
        ),
    ] = {}

    @property
    def shared_redis(self) -> Secret | None:
        """The Redis that processes share: the cache's or, without one, that of nonces and rates."""
        is_cached = self.cache.enabled and self.cache.driver is CacheDriver.REDIS
        return self.cache.url if is_cached else self.security.redis_url

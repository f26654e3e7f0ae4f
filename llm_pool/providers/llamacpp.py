"""
The embedded engine: llama.cpp (the ``xllamacpp`` wheel) in a process of its own, one for each provider.

::

    stream ──▶ a slot of ours ──▶ worker up? ──no──▶ start one, load the model
                                     │yes                 │
                                     ▼                    ▼
                              OpenAI-shaped call over loopback ──▶ Deltas

A crash, an out-of-memory kill or a hang takes the worker and the calls it had, and nothing else: the next call
finds a new one. A call that is left before its end closes its socket, on which the engine stops: while it writes
after the next token, while it reads a prompt after the next ``BATCH`` tokens of it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from importlib.util import find_spec
from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llm_pool.core.errors import Failed, ProviderError, Rejected, Unreachable, UnsupportedTask, UnsupportedTools
from llm_pool.core.messages import Abilities, ProviderState
from llm_pool.providers.gguf import BUNDLED, find_model, model_folder, source_of
from llm_pool.providers.gguf_header import NotGguf, read_header
from llm_pool.providers.llamacpp_process import Worker
from llm_pool.providers.openai import OpenAIProvider, request_body
from llm_pool.providers.replies import probe_state
from llm_pool.providers.vocabulary import Vocabulary, read_vocabularies
from llm_pool.tasks import JUDGING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from pathlib import Path

    from llm_pool.core.messages import Call, Condition, Delta, Json
    from llm_pool.providers.gguf_header import GgufHeader
    from llm_pool.providers.transport import Backend, Transport

MAX_ENUMERATED_IDS: Final = 5
"""Ids of which a grammar lists every order: 120 orders of five take 31 ms, 720 of six would be felt."""
BATCH: Final = 64
"""
Prompt tokens between two looks at cancellations: the engine stops after one or two batches of them.

Measured on one core with the shipped model, tokens a second: 1,600 by 32, 4,000 by 64, 4,200 by 128, 5,500 by 512.
"""

CONTEXT: Final = 8192
"""Tokens of context where the configuration names none, if the model was trained for as many: memory is dear."""

VOCABULARIES: Final = "pocket-words.json"
"""The words of each task that a model of ours was taught: beside the model, else those of the shipped ones."""

_HEALTH_TIMEOUT: Final = 2.0  # seconds to answer /health, which needs no engine
_SLOTS_TIMEOUT: Final = 30.0  # seconds to answer /slots, which waits for the end of a batch: large models on few cores


class LlamaCppProvider:
    """
    One GGUF model, held by a worker process that starts with the first call.

    Args:
        name: the name in the configuration.
        model: a path, a name in the model folder or of a shipped model, or a source; see ``gguf``.
        transport: shared; not closed by ``aclose``.
        folder: of the user's models; None takes ``model_folder()``.
        base: what a relative path in *model* starts from, e.g. the configuration's folder; None: the working directory.
        context: tokens of one call, prompt and answer; None takes the model's own, up to ``CONTEXT``.
        threads: None leaves it to the engine.
        slots: calls at once; others wait for one of them to end.
        gpu_layers: None leaves it to the engine; 0 keeps off the GPU.
    """

    def __init__(
        self,
        *,
        name: str,
        model: str,
        transport: Transport,
        folder: Path | None = None,
        base: Path | None = None,
        context: int | None = None,
        threads: int | None = None,
        slots: int = 1,
        gpu_layers: int | None = None,
    ) -> None:
        self.name, self.model = name, model
        self._transport = transport
        self._folder = model_folder() if folder is None else folder
        self._base, self._context = base, context
        self._settings: dict[str, Json] = {"threads": threads, "slots": slots, "gpu_layers": gpu_layers, "batch": BATCH}
        self._slots = asyncio.Semaphore(slots)
        self._scope: _Scope | None = None
        self._engine: _Engine | None = None
        self._starting: asyncio.Task[_Engine] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._broken: ProviderError | None = None
        self._closed = False

    def __repr__(self) -> str:
        process = f"process {engine.worker.pid}" if (engine := self._running) else "no process"
        return f"<LlamaCppProvider {self.name}: {self.model}, {process}>"

    @property
    def abilities(self) -> Abilities:
        """The engine is built without the parsers of calls, and without eyes."""
        return Abilities(cannot=frozenset({"tools", "vision"}))

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``; the time a start takes is told as ``loading``. Unsupported starts nothing."""
        await self._check_supported(call)
        async with self._slots:
            now, was_running = asyncio.get_running_loop().time, self._running is not None
            began = now()
            engine = await self._ready()
            loading = None if was_running else now() - began
            async with aclosing(self._ask(engine, call)) as deltas:
                async for delta in deltas:
                    yield msgspec.structs.replace(delta, loading=loading) if delta.final else delta

    async def state(self) -> ProviderState:
        """As ``Provider.state``. A model that is there and not loaded is warming: loading starts with a call."""
        if engine := self._running:
            return await probe_state(engine.backend, self.model, engine.healthy)
        if (missing := await asyncio.to_thread(self._missing)) is not None:
            condition: Condition = "model_missing" if isinstance(missing, Rejected) else "unreachable"
            return self._state(condition, missing.reason, missing.hint)
        if self._starting is not None:
            return self._state("warming", "loading", "llm-pool health --wait 60s")
        if self._broken is not None:
            return self._state("failing", self._broken.reason, self._broken.hint)
        return self._state("warming", "not loaded yet", "llm-pool health --warm")

    async def load(self) -> None:
        """Start the worker, if none is running, and wait until it has the model; raises ProviderError."""
        await self._ready()

    async def aclose(self) -> None:
        """End the worker. Idempotent; a call that is under way fails."""
        self._closed = True
        tasks = [task for task in (self._starting, self._checking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._engine is not None:
            await self._engine.worker.stop()

    @property
    def _running(self) -> _Engine | None:
        return self._engine if self._engine is not None and self._engine.worker.alive else None

    async def _check_supported(self, call: Call) -> None:
        """Raises UnsupportedTools; UnsupportedTask if the file says that its model was taught something else only."""
        if call.tools:
            raise UnsupportedTools(self.name, "the embedded engine calls no tools")
        if self._scope is None:
            with suppress(ProviderError):  # a file that is missing or broken is for the start to complain of
                self._scope = await asyncio.to_thread(lambda: self._read_scope(*self._file()))
        if self._scope is not None and (refusal := self._scope.refusal(call)):
            raise UnsupportedTask(self.name, refusal)

    async def _ask(self, engine: _Engine, call: Call) -> AsyncGenerator[Delta]:
        ended = False
        try:
            async with aclosing(engine.stream(call)) as deltas:
                async for delta in deltas:
                    ended = delta.final
                    yield delta
        except (Failed, Unreachable) as error:
            if await engine.worker.ended(within=0.5):
                ended = True
                raise Failed(self.name, f"the embedded engine died: {engine.worker.exit}") from error
            raise
        finally:
            if not ended and not self._closed:
                self._check(engine)

    async def _ready(self) -> _Engine:
        if self._checking is not None:  # a call just left: do not follow it into a worker that hangs
            await asyncio.wait({self._checking}, timeout=2 * _HEALTH_TIMEOUT)
        if self._closed:
            raise Unreachable(self.name, "this provider is closed")
        if engine := self._running:
            return engine
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name=f"start {self.name}")
            self._starting.add_done_callback(self._started)
        starting = self._starting
        await asyncio.wait({starting})  # a caller that gives up does not stop the loading
        if starting.cancelled():
            raise Unreachable(self.name, "this provider was closed while it loaded its model")
        return starting.result()

    async def _start(self) -> _Engine:
        if self._engine is not None:
            await self._engine.worker.stop(force=True)  # it is dead: collect what is left
        model, header = await asyncio.to_thread(self._file)
        self._scope = await asyncio.to_thread(self._read_scope, model, header)
        context = self._context or min(header.context or CONTEXT, CONTEXT)
        worker = await Worker.start(self.name, model, {**self._settings, "context": context})
        return _Engine(self.name, self.model, self._transport, worker)

    def _started(self, starting: asyncio.Task[_Engine]) -> None:
        self._starting = None
        if starting.cancelled():
            return
        error = starting.exception()
        self._broken = error if isinstance(error, ProviderError) else None
        if error is None:
            self._engine = starting.result()

    def _file(self) -> tuple[Path, GgufHeader]:
        """Where the model is, and what it says of itself; raises ProviderError."""
        if (missing := self._missing()) is not None:
            raise missing
        path = find_model(self.model, self._folder, self._base)
        assert path is not None
        try:
            return path, read_header(path)
        except NotGguf as error:
            raise Failed(self.name, f"{path} is no usable model: it {error}", hint=_pull_hint(self.model)) from error

    def _read_scope(self, model: Path, header: GgufHeader) -> _Scope:
        """What the file *model* and the words beside it, else the shipped ones, say; raises ProviderError."""
        if not header.tasks:
            return _Scope((), "", {})
        beside = model.with_name(VOCABULARIES)
        path = beside if beside.exists() else BUNDLED / VOCABULARIES
        try:
            return _Scope(header.tasks, header.refusal, read_vocabularies(path))
        except (OSError, ValueError) as error:
            raise Failed(self.name, f"{path} does not hold the words that a model was taught: {error}") from error

    def _missing(self) -> ProviderError | None:
        if find_spec("xllamacpp") is None:
            return Unreachable(
                self.name, "the embedded engine is not installed", hint="pip install 'llm-pool[embedded]'"
            )
        if find_model(self.model, self._folder, self._base) is None:
            return Rejected(self.name, f"no model '{self.model}' in {self._folder}", hint=_pull_hint(self.model))
        return None

    def _check(self, engine: _Engine) -> None:
        """See in the background whether *engine* is still with us, now that a call was left unfinished."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._kill_if_hung(engine), name=f"check {self.name}")

    @staticmethod
    async def _kill_if_hung(engine: _Engine) -> None:
        for path, patience in (("/health", _HEALTH_TIMEOUT), ("/slots", _SLOTS_TIMEOUT)):
            if not await engine.answers(path, patience):
                await engine.worker.stop(force=True)
                return

    def _state(self, condition: Condition, detail: str, hint: str) -> ProviderState:
        return ProviderState(name=self.name, model=self.model, condition=condition, detail=detail, hint=hint)


class _Scope(msgspec.Struct, frozen=True):
    """What a model was taught: if any are named, only *tasks*, and of some of them only inputs in certain words."""

    tasks: tuple[str, ...]
    other_task: str
    vocabularies: Mapping[str, Vocabulary]

    def refusal(self, call: Call) -> str:
        """Why *call* is none of it; empty if it is."""
        if self.tasks and call.task.name not in self.tasks:
            return self.other_task
        vocabulary = self.vocabularies.get(call.task.name)
        if vocabulary is None or _is_covered(call, vocabulary):
            return ""
        return "this pocket model only knows a small made-up world, and not all that this input speaks of"


def _is_covered(call: Call, vocabulary: Vocabulary) -> bool:
    if msgspec.structs.replace(call.task, variants={}) == JUDGING:  # not a user's own task of that name
        return vocabulary.covers_judging(call.input)
    earlier = (turn.text for turn in call.prompt.turns if turn.role == "user")
    return all(map(vocabulary.covers, [*earlier, call.input]))


class _Engine(OpenAIProvider):
    """A worker's server: the OpenAI-shaped API with llama.cpp's own additions."""

    def __init__(self, name: str, model: str, transport: Transport, worker: Worker) -> None:
        super().__init__(name=name, base_url=worker.url, model=model, transport=transport, api_key=worker.key)
        self.worker = worker

    @property
    def backend(self) -> Backend:
        """Where it listens."""
        return self._backend

    async def healthy(self) -> ProviderState:
        """As ``state``, which it is as soon as it answers: a worker listens when its model is loaded."""
        await self._transport.request(self._backend, "GET", "/health")
        return ProviderState(name=self.name, model=self.model, condition="healthy", loaded=(self.model,))

    async def answers(self, path: str, within: float) -> bool:
        """Whether it says anything at *path* in *within* seconds."""
        try:
            async with asyncio.timeout(within):
                await self._transport.request(self._backend, "GET", path)
        except (ProviderError, TimeoutError):
            return False
        return True

    def _request_body(self, call: Call) -> dict[str, Any]:
        think = False if call.schema is not None else call.think or False  # a grammar leaves no room for thoughts
        body = request_body(self.model, msgspec.structs.replace(call, schema=None), think)
        body["cache_prompt"] = call.seed is None  # a reused prefix may round differently: a seed asks for the same
        body["return_progress"] = True  # something is written after each batch of a prompt: how a cancel is noticed
        if call.schema is not None:
            # ``response_format`` fails on templates the engine does not know: "does not match the expected peg-native
            # format". A grammar needs no parser behind it, and leaves the text as it is.
            body |= {"grammar": grammar(call.schema), "reasoning_format": "none"}
        return body


def grammar(schema: dict[str, Json]) -> str:
    """
    A grammar of the JSON texts that *schema* allows, without white space between tokens.

    A grammar cannot say ``uniqueItems``. Where the list is an order of a few ids, the grammar lists every order; a
    longer one is left to validation.

    Source: llguidance, docs/json_schema.md.
    """
    options = {"whitespace_flexible": False, "lenient": True}
    spelled = {**_with_orders_enumerated(schema), "x-guidance": options}
    return f"%llguidance {{}}\nstart: %json {msgspec.json.encode(spelled).decode()}"


def _with_orders_enumerated(schema: dict[str, Json]) -> dict[str, Json]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return schema
    return {**schema, "properties": {name: _as_enumeration(inner) for name, inner in properties.items()}}


def _as_enumeration(schema: Json) -> Json:
    """An order of up to LONGEST_ORDER ids as the list of all orders, anything else as it is."""
    if not (isinstance(schema, dict) and schema.get("uniqueItems") and isinstance(schema.get("items"), dict)):
        return schema
    ids = schema["items"].get("enum", ())
    if not 1 < len(ids) <= MAX_ENUMERATED_IDS or schema.get("minItems") != len(ids):
        return schema
    return {"enum": [list(order) for order in permutations(ids)]}


def _pull_hint(model: str) -> str:
    return f"llm-pool models pull {model if source_of(model) else 'hf:OWNER/REPO/FILE.gguf'}"

"""The scripted upstream: models that answer as told, behind real sockets, in real time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec

from llm_pool.testing.upstream import embeddings, modes, ollama, openai
from llm_pool.testing.upstream.exchange import Exchange
from llm_pool.testing.upstream.http import Connection, Request
from llm_pool.testing.upstream.inference import AnswerGenerator, infer, is_loading
from llm_pool.testing.upstream.journal import Counts, Entry, Journal
from llm_pool.testing.upstream.machine import Machine, Model, QueueFull
from llm_pool.testing.upstream.pull import Registry, pull

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from llm_pool.testing.upstream.answers import AnswerFunction, TextRequest
    from llm_pool.testing.upstream.generation import Dialect
    from llm_pool.testing.upstream.inference import Flavor
    from llm_pool.testing.upstream.latency import Distribution

Route: TypeAlias = Callable[[Exchange], Awaitable[None]]
AT_ONCE = "const:0"


class Upstream:
    """
    A backend under a test's command.

    ::

        async with Upstream(["phi3:mini"], ttft="heavy:0.1,0.05,5") as up:
            up.set_mode("phi3:mini", "error:503", "ok")      # the first request fails, then all is well
            ...                                              # ask it, at up.url
            assert up.counts.cancelled == 0

    Args:
        models: what is on its disk; a name alone is a Model of 2 GB that loads at once.
        flavor: ``ollama`` speaks Ollama's API and its /v1; ``llama-server`` llama.cpp's /v1, of one model.
        answer: has the first word on every request; None from it leaves the request to *recorded*.
        recorded: file of recorded answers, as in ``answers.Recordings``.
        ttft, per_token: seconds to the first token and between two, as a spec (``latency.SPECS``) or a function of a
            random generator; drawn once per request.
        slots, max_loaded, memory, max_queue: the machine, as in ``machine.Machine``.
        cold: begin with nothing loaded; else with as many of the models, in order, as fit.
        context: tokens that a llama-server prompt may have; None: any number.
        registry: sizes in bytes of what ``/api/pull`` finds; None: everything, at 64 MiB.
        pull_rate: bytes per second of a pull.
        seed: of everything drawn; each model draws for itself.

    Attributes:
        url: ``http://127.0.0.1:PORT``, once entered.
        models: on disk, by name.
        journal: every request.
        machine: what is loaded; new each time it is entered.
    """

    def __init__(
        self,
        models: Iterable[str | Model] = ("phi3:mini",),
        *,
        flavor: Flavor = "ollama",
        answer: AnswerFunction | None = None,
        recorded: Path | None = None,
        ttft: str | Distribution = AT_ONCE,
        per_token: str | Distribution = AT_ONCE,
        slots: int = 64,
        max_loaded: int | None = None,
        memory: int | None = None,
        max_queue: int = 512,
        cold: bool = False,
        context: int | None = None,
        registry: dict[str, int] | None = None,
        pull_rate: float = 512 * 2**20,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        listed = [model if isinstance(model, Model) else Model(name=model) for model in models]
        self.models = {model.name: model for model in listed}
        self.journal, self.url = Journal(), ""
        self._flavor, self._cold, self._context, self._slots = flavor, cold, context, slots
        self._generator = AnswerGenerator(answer, recorded, ttft, per_token, seed)
        self._modes, self._registry = modes.Modes(), Registry(registry, pull_rate)
        self._new_machine = partial(Machine, slots=slots, max_loaded=max_loaded, memory=memory, max_queue=max_queue)
        self._host, self._port = host, port
        self._connections: set[Connection] = set()
        self._routes = self._control_routes() | (self._ollama_routes() if flavor == "ollama" else self._llama_routes())

    async def __aenter__(self) -> Self:
        self.machine = self._new_machine()
        if not self._cold:
            self.machine.preload(list(self.models.values()))
        accept = partial(Connection, self._handle, self._connections)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(accept, self._host, self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://{self._host}:{self._port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        handling = [c.handling for c in self._connections if c.handling is not None]
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*handling, return_exceptions=True)
        await self._server.wait_closed()
        self.machine.close()

    def set_mode(self, model: str, *specs: str) -> None:
        """
        From now on, treat requests for *model* so: several modes take one request each, and the last one stands.

        Args:
            model: a model's name, ``*`` for all, or a path such as ``/api/tags``.
            specs: as in ``modes.DESCRIPTIONS``; none means ``ok``.
        Raises:
            ValueError: a spec that names no mode.
        """
        self._modes.set(model, *(modes.parse(spec) for spec in specs), now=asyncio.get_running_loop().time())

    @property
    def counts(self) -> Counts:
        """Requests for text by their ending, and what the machine loaded and swapped."""
        return self.journal.counts(loads=self.machine.loads, swaps=self.machine.evictions)

    # Requests

    async def _handle(self, request: Request, connection: Connection) -> None:
        now = asyncio.get_running_loop().time
        entry = self.journal.begin(request.method, request.path, request.headers, _parsed(request.body), now())
        exchange = Exchange(request, connection, self._dialect(request.path, entry), entry)
        try:
            await self._route(exchange)
        except asyncio.CancelledError:
            entry.ending, entry.closed_after = "cancelled", now() - entry.arrived
            raise
        except ollama.Refused as refused:
            exchange.refuse(refused.status, refused.message)
        finally:
            entry.ended = now()
            if entry.model:
                self.journal.close(entry)

    async def _route(self, exchange: Exchange) -> None:
        path = exchange.request.path
        route = self._routes.get(f"{exchange.request.method} {path}")
        if route is not None:
            if not await exchange.apply_fault(self._modes.next(path, self._generator.random(path))):
                await route(exchange)
        elif self._flavor == "ollama":
            exchange.send(404, b"404 page not found", headers=[("Content-Type", "text/plain")])
        else:
            exchange.send(404, openai.NOT_FOUND)

    def _dialect(self, path: str, entry: Entry) -> Dialect:
        body = entry.body if isinstance(entry.body, dict) else {}
        model = str(body.get("model", ""))
        if self._flavor == "llama-server":
            return openai.LlamaServer(next(iter(self.models)), number=entry.number, usage=openai.wants_usage(body))
        if path.startswith("/v1"):
            return openai.OllamaV1(model, number=entry.number, usage=openai.wants_usage(body))
        return ollama.Chat(model) if path == "/api/chat" else ollama.Generate(model)

    def _control_routes(self) -> dict[str, Route]:
        return {
            "GET /_upstream/journal": self._show_journal,
            "POST /_upstream/script": self._set_script,
            "GET /v1/models": self._v1_models,
            "POST /v1/chat/completions": self._v1_chat,
            "POST /v1/embeddings": self._embed,
        }

    def _ollama_routes(self) -> dict[str, Route]:
        return {
            "GET /": self._root,
            "HEAD /": self._root,
            "GET /api/version": self._version,
            "GET /api/tags": self._tags,
            "GET /api/ps": self._ps,
            "POST /api/show": self._show,
            "POST /api/pull": self._pull,
            "DELETE /api/delete": self._delete,
            "POST /api/embed": self._embed,
            "POST /api/generate": self._generate,
            "POST /api/chat": self._generate,
        }

    def _llama_routes(self) -> dict[str, Route]:
        return {"GET /health": self._health, "GET /props": self._props}

    # Requests for text

    async def _generate(self, exchange: Exchange) -> None:
        body = ollama.read_body(exchange.request.body)
        text_request, keep_alive = ollama.read_text_request(body), ollama.keep_alive(body)
        model = self._find(text_request.model)
        ollama.check_able(body, model)
        if not ollama.asks_nothing(body):
            await self._infer(text_request, model, exchange, keep_alive=keep_alive)
            return
        if keep_alive <= 0:
            self.machine.unload(model.name)
        else:
            await self._load(model, keep_alive)
        reason = "load" if keep_alive > 0 else "unload"
        exchange.send(200, ollama.no_answer(model.name, reason, chat=exchange.request.path == "/api/chat"))

    async def _load(self, model: Model, keep_alive: float) -> None:
        try:
            async with self.machine.serve(model, keep_alive=keep_alive):
                pass
        except QueueFull:
            raise ollama.Refused(503, ollama.BUSY) from None

    async def _v1_chat(self, exchange: Exchange) -> None:
        body = openai.read_body(exchange.request.body)
        text_request = openai.read_text_request(body)
        model, size = self._find(text_request.model), 1 + len(text_request.text) // 4
        if self._flavor == "ollama":
            ollama.check_able(body, model)
        if self._flavor == "llama-server" and is_loading(self._modes.current(model.name)):
            exchange.refuse(503, "Loading model")
        elif self._context is not None and size > self._context:
            exchange.send(400, openai.too_long(size, self._context))
        else:
            await self._infer(text_request, model, exchange)

    async def _infer(
        self, text_request: TextRequest, model: Model, exchange: Exchange, *, keep_alive: float = 300.0
    ) -> None:
        self.journal.open(exchange.entry, model.name)
        await infer(text_request, model, exchange, self._generator, self._modes, self.machine, keep_alive=keep_alive)

    def _find(self, name: str) -> Model:
        if self._flavor == "llama-server":  # one model, whatever it is called
            return next(iter(self.models.values()))
        model = self.models.get(name) or self.models.get(f"{name}:latest")
        if model is None:
            raise ollama.Refused(404, f"model '{name}' not found")
        return model

    # Everything else

    async def _root(self, exchange: Exchange) -> None:
        exchange.send(200, b"Ollama is running", headers=[("Content-Type", "text/plain; charset=utf-8")])

    async def _version(self, exchange: Exchange) -> None:
        exchange.send(200, ollama.encode({"version": ollama.VERSION}))

    async def _tags(self, exchange: Exchange) -> None:
        exchange.send(200, ollama.tags(list(self.models.values())))

    async def _ps(self, exchange: Exchange) -> None:
        residents = self.machine.loaded().values()
        ready = [r for r in residents if r.loading.done() and not is_loading(self._modes.current(r.model.name))]
        exchange.send(200, ollama.ps(ready, asyncio.get_running_loop().time()))

    async def _health(self, exchange: Exchange) -> None:
        if is_loading(self._modes.current(next(iter(self.models)))):
            exchange.refuse(503, "Loading model")
        else:
            exchange.send(200, b'{"status":"ok"}')

    async def _props(self, exchange: Exchange) -> None:
        exchange.send(200, msgspec.json.encode({"total_slots": self._slots}))

    async def _show(self, exchange: Exchange) -> None:
        exchange.send_chunked(ollama.show(self._find(_name(exchange))))

    async def _delete(self, exchange: Exchange) -> None:
        model = self._find(_name(exchange))
        self.machine.unload(model.name)
        del self.models[model.name]
        exchange.send(200, b"")

    async def _pull(self, exchange: Exchange) -> None:
        name = _name(exchange)
        mode = self._modes.next(name, self._generator.random(name))
        model = await pull(name, exchange, self._registry, mode)
        if model is not None:
            self.models[name] = model

    async def _embed(self, exchange: Exchange) -> None:
        body = ollama.read_body(exchange.request.body)
        model = self._find(str(body.get("model", "")))
        if not model.embeds:
            raise ollama.Refused(501, "This server does not support embeddings. Start it with `--embeddings`")
        if body.get("input"):  # without, it is asked to load the model
            self.journal.open(exchange.entry, model.name)
        await embeddings.embed(body, model, exchange, self._generator, self._modes, self.machine)

    async def _v1_models(self, exchange: Exchange) -> None:
        listed = openai.ollama_models if self._flavor == "ollama" else openai.llama_models
        exchange.send(200, listed(list(self.models.values())))

    async def _show_journal(self, exchange: Exchange) -> None:
        exchange.send(200, msgspec.json.encode({"counts": self.counts, "entries": list(self.journal.entries)}))

    async def _set_script(self, exchange: Exchange) -> None:
        try:
            script = msgspec.json.decode(exchange.request.body, type=_Script)
            self.set_mode(script.model, *script.modes)
        except ValueError as error:
            raise ollama.Refused(400, str(error)) from None
        exchange.send(200, b"{}")


class _Script(msgspec.Struct):
    modes: list[str]
    model: str = "*"


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return None


def _name(exchange: Exchange) -> str:
    body = ollama.read_body(exchange.request.body)
    return str(body.get("model") or body.get("name") or "")

"""Ollama: ``/api/chat`` always streamed, and the models its server keeps."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.config.values import Driver
from llm_pool.core.errors import Failed, ProviderError, Rejected
from llm_pool.core.messages import Abilities, ModelFacts, ModelInfo, PullProgress
from llm_pool.providers.asking import Asking
from llm_pool.providers.capabilities import from_ollama, name_of, with_shown
from llm_pool.providers.completion import completion
from llm_pool.providers.context_window import ContextWindow, complaint
from llm_pool.providers.embeddings import checked, ollama_embeddings
from llm_pool.providers.framing import Records
from llm_pool.providers.grammar_schemas import for_grammar
from llm_pool.providers.inline_reasoning import ReasoningHabit
from llm_pool.providers.messages import ollama_messages
from llm_pool.providers.model_names import full_name
from llm_pool.providers.ollama_server import OllamaServer
from llm_pool.providers.record_format import OLLAMA
from llm_pool.providers.replies import decode, error_for, error_text, probe_state
from llm_pool.providers.sampling_fields import taken_by
from llm_pool.providers.thinking import resolved, token_limit
from llm_pool.providers.tool_calls import tools_json
from llm_pool.providers.transport import with_bearer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from llm_pool.core.messages import Call, Delta, Embeddings, Json, ProviderState, Think, Tool
    from llm_pool.providers.transport import Backend, Reply, TlsFiles, Transport

encode = msgspec.json.encode
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,9})?")


class _Step(msgspec.Struct):
    """A line of ``/api/pull``."""

    status: str = ""
    error: str | None = None
    total: int | None = None
    completed: int = 0


class OllamaProvider:
    """
    One model on an Ollama server.

    Args:
        name: the name in the configuration.
        base_url: e.g. ``http://127.0.0.1:11434``.
        model: as Ollama names it; without a tag, ``:latest`` is meant.
        transport: shared; not closed by ``aclose``.
        api_key: for a proxy in front of Ollama.
        keep_alive: how long the model stays loaded after a call: a duration such as ``30m``, or seconds, -1 for
            ever, 0 not at all; None leaves it to the server.
        context: tokens of context; None asks for more than the server's default where a prompt needs it.
        headers: sent with every request; never shown.
        extra_body: merged into the body of every question.
        think: whether the model thinks where neither request nor task says so.
        tls: files for an https address.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        model: str,
        transport: Transport,
        api_key: str | None = None,
        keep_alive: str | float | None = None,
        context: int | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, Json] | None = None,
        think: Think | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.name, self.model = name, model
        self._server = OllamaServer(
            name=name, base_url=base_url, transport=transport, headers=with_bearer(headers, api_key), tls=tls
        )
        self._backend, self._transport = self._server.backend, transport
        self._asking = Asking(self._backend, transport, extra_body)
        self._window, self._think = ContextWindow(context), think
        self._habit = ReasoningHabit(model)
        self._told: frozenset[str] | None = None
        self._longest: int | None = None
        self._keep_alive: dict[str, Any] = {} if keep_alive is None else {"keep_alive": _duration(keep_alive)}

    def __repr__(self) -> str:
        return f"<OllamaProvider {self.name}: {self.model} at {self._backend.authority}>"

    async def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``."""
        size, note = self._window_for(call)
        body = self._request_body(call, size)
        ask = partial(
            self._asking.ask,
            "/api/chat",
            body,
            self._refusal,
            lambda error: self._with_larger_context(body, error),
            trace=call.trace,
        )
        async with aclosing(completion(self._backend, ask, OLLAMA, habit=self._habit)) as deltas:
            async for delta in deltas:
                if delta.final:
                    cut = complaint(call.prompt, delta.usage.prompt_tokens, size)
                    yield msgspec.structs.replace(delta, note=cut or note)
                else:
                    yield delta

    async def embed(self, texts: Sequence[str], *, dimensions: int | None, truncate: bool) -> Embeddings:
        """As ``Embedder.embed``."""
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "truncate": truncate, **self._keep_alive}
        if dimensions is not None:
            body["dimensions"] = dimensions
        async with self._asking.ask("/api/embed", body, self._refusal) as response:
            reply = await response.read()
        return checked(self._backend, ollama_embeddings(self._backend, reply.body), len(texts), dimensions)

    async def state(self) -> ProviderState:
        """As ``Provider.state``."""
        return await probe_state(self._backend, self.model, lambda: self._server.state(self.model))

    async def loaded(self) -> dict[str, float]:
        """
        The models in the server's memory now, by their full names: megabytes they take.

        Raises:
            ProviderError: the server does not say.
        """
        loaded = await self._server.loaded()
        if (own := loaded.get(full_name(self.model))) is not None:
            self._window.note_served(own.context)
        return {name: (facts.size or 0) / 1e6 for name, facts in loaded.items()}

    @property
    def abilities(self) -> Abilities:
        """What is known of the model now: ``/api/show`` lists all that it can do."""
        refused = frozenset({"tools"}) if self._asking.refuses_tools else frozenset[str]()
        if self._told is None:
            return Abilities(cannot=refused, context=self._longest)
        can = self._told - refused
        return Abilities(can, frozenset({"tools", "vision", "thinking"}) - can, self._longest)

    async def learn_abilities(self) -> None:
        """Ask the server for ``abilities``; raises nothing."""
        facts = with_shown(ModelFacts(name=self.model), await self._server.shown(self.model))
        self._told, self._longest = facts.capabilities or self._told, facts.context or self._longest

    async def load(self) -> None:
        """
        As ``Provider.load``: a request without a prompt loads the model and says nothing.

        It has the options of a call, as others would load the model anew; but not a ``keep_alive`` of 0, which unloads.
        """
        keep_alive = {} if str(self._keep_alive.get("keep_alive", "")).rstrip("hms") == "0" else self._keep_alive
        size = self._window.current
        options = {} if size is None else {"options": {"num_ctx": size}}
        body = encode({"model": self.model, "stream": False, **options, **keep_alive})
        reply = await self._transport.request(self._backend, "POST", "/api/generate", body)
        if reply.status != 200:
            raise _refused(self._backend, self.model, reply)

    async def aclose(self) -> None:
        """Nothing: the transport is shared."""

    def _window_for(self, call: Call) -> tuple[int | None, str]:
        """Tokens of context to ask for, if any, and what to tell of it where it is more than before."""
        before = self._window.asked
        size = self._window.size_for(call.prompt, token_limit(call, resolved(call, self._think)), tools=call.tools)
        grown = size if self._window.asked != before else None
        return size, "" if grown is None else f"a context of {grown} tokens was asked for, to hold the prompt"

    def _request_body(self, call: Call, size: int | None) -> dict[str, Any]:
        think = resolved(call, self._think)
        options: dict[str, Any] = {**taken_by(Driver.OLLAMA, call.extra), "temperature": call.temperature}
        if (limit := token_limit(call, think)) is not None:
            options["num_predict"] = limit
        if size is not None:
            options["num_ctx"] = size
        if call.seed is not None:
            options["seed"] = call.seed
        if call.stop:
            options["stop"] = call.stop
        question: dict[str, Any] = {
            "model": self.model,
            "messages": ollama_messages(call.prompt),
            "stream": True,
            "truncate": False,  # a prompt that does not fit is an error then, and not answered from its end
            "options": options,
            **self._keep_alive,
        }
        if think is not None:
            question["think"] = think
        if call.tools:
            question["tools"] = tools_json(_offered(call))
        elif call.schema is not None:  # with tools, a grammar would leave no way to call one
            question["format"] = for_grammar(call.schema)
        if call.top_logprobs:
            question |= {"logprobs": True, "top_logprobs": call.top_logprobs}
        return question

    def _with_larger_context(self, body: dict[str, Any], error: str) -> dict[str, Any] | None:
        """*body* with a context that holds the prompt, where *error* says how long that is; else None."""
        options = body["options"]
        size = self._window.grown_for(error, options.get("num_predict"))
        return None if size is None else {**body, "options": {**options, "num_ctx": size}}

    def _refusal(self, reply: Reply) -> ProviderError:
        return _refused(self._backend, self.model, reply)


class OllamaStore:
    """
    The models of an Ollama server, as a ModelStore.

    Args:
        name: what errors call it: a provider's name.
        base_url: e.g. ``http://127.0.0.1:11434``.
        transport: shared.
        api_key: for a proxy in front of Ollama.
        headers: sent with every request.
        tls: files for an https address.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        transport: Transport,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self._server = OllamaServer(
            name=name, base_url=base_url, transport=transport, headers=with_bearer(headers, api_key), tls=tls
        )
        self._backend, self._transport = self._server.backend, transport

    async def models(self) -> Sequence[ModelInfo]:
        """As ``ModelStore.models``; raises ProviderError."""
        listed, loaded = await asyncio.gather(self._server.listed(), self._server.loaded_or_none())
        return [self._info(entry, full_name(name_of(entry)) in (loaded or ())) for entry in listed]

    def _info(self, entry: dict[str, Any], loaded: bool) -> ModelInfo:
        facts, digest, details = from_ollama(entry), entry.get("digest"), entry.get("details")
        return ModelInfo(
            name=facts.name,
            size=facts.size,
            place=self._backend.authority,
            loaded=loaded,
            digest=digest if isinstance(digest, str) else "",
            detail=details if isinstance(details, dict) else {},
        )

    async def pull(self, model: str) -> AsyncGenerator[PullProgress]:
        """As ``ModelStore.pull``: Ollama itself resumes, verifies and reports each layer by its digest."""
        async with self._transport.stream(self._backend, "POST", "/api/pull", encode({"model": model})) as response:
            if response.status != 200:
                raise error_for(self._backend, await response.read())
            async for batch in Records(self._backend, response):
                for record in batch:
                    step = decode(self._backend, record.data, _Step)
                    if step.error is not None:
                        raise Failed(self._backend.name, self._backend.redacted(step.error))
                    yield PullProgress(step.status, step.completed, step.total)
                    if step.status == "success":
                        return
        raise Failed(self._backend.name, f"the pull of {model} ended before it was done", hint=_pull_hint(model))

    async def show(self, model: str) -> ModelInfo:
        """As ``ModelStore.show``; *detail* is what ``/api/show`` says."""
        reply = await self._transport.request(self._backend, "POST", "/api/show", encode({"model": model}))
        if reply.status != 200:
            raise _refused(self._backend, model, reply)
        detail = decode(self._backend, reply.body, dict[str, Any])
        for known in await self.models():
            if full_name(known.name) == full_name(model):
                return msgspec.structs.replace(known, detail=detail)
        return ModelInfo(name=model, size=None, place=self._backend.authority, detail=detail)

    async def remove(self, model: str) -> None:
        """As ``ModelStore.remove``."""
        reply = await self._transport.request(self._backend, "DELETE", "/api/delete", encode({"model": model}))
        if reply.status != 200:
            raise _refused(self._backend, model, reply)


def _offered(call: Call) -> Sequence[Tool]:
    """The tools to show: Ollama takes no ``tool_choice``, so the one that must be called is shown alone."""
    named = [tool for tool in call.tools if tool.name == call.tool_choice]
    return named or call.tools


def _duration(keep_alive: str | float) -> str | float:
    """*keep_alive* as Ollama reads it: a number of seconds must not be a string, a duration must be one."""
    if isinstance(keep_alive, str) and not _NUMBER.fullmatch(keep_alive.strip()):
        return keep_alive
    seconds = float(keep_alive)
    return int(seconds) if seconds.is_integer() else seconds


_SIGN_IN = "ollama signin, for a model in Ollama's cloud; api_key or headers, for a proxy in front of it"


def _pull_hint(model: str) -> str:
    return f"llm-pool models pull {model}"


def _refused(backend: Backend, model: str, reply: Reply) -> ProviderError:
    if reply.status == 404:
        said = error_text(backend, reply.body)
        return Rejected(backend.name, f"404: {said}", hint=_pull_hint(model) if "not found" in said else "")
    if reply.status == 401:
        return Rejected(backend.name, f"401: {error_text(backend, reply.body)}", hint=_SIGN_IN)
    return error_for(backend, reply)

"""Any other HTTP backend: what is sent and what is read is described by a template."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from llm_pool.core.errors import BadReply, ConfigError, Rejected, UnsupportedTools
from llm_pool.core.messages import Abilities, ProviderState
from llm_pool.providers.asking import merged_json
from llm_pool.providers.chunks import Chunk
from llm_pool.providers.completion import completion
from llm_pool.providers.context_window import check_fits
from llm_pool.providers.finishes import word_of
from llm_pool.providers.inline_reasoning import ReasoningHabit
from llm_pool.providers.json_values import reasoning_of, text_of
from llm_pool.providers.record_format import RecordFormat, never_plain
from llm_pool.providers.replies import error_for, probe_state
from llm_pool.providers.template import Template, at
from llm_pool.providers.thinking import resolved
from llm_pool.providers.transport import Backend

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from llm_pool.core.messages import Call, Delta, Json, Think
    from llm_pool.providers.transport import Response, TlsFiles, Transport

Format: TypeAlias = Literal["json", "lines", "events"]


class HttpProvider:
    """
    One model behind an API of its own shape.

    Args:
        name: the name in the configuration.
        base_url: scheme, host, port, and a path if the API has one.
        model: what ``{model}`` stands for.
        transport: shared; not closed by ``aclose``.
        path: appended to base_url.
        method: e.g. ``POST``.
        headers: sent with every request; never shown.
        body: JSON with placeholders, see ``Template``.
        answers: ``json`` one object; ``lines`` one object a line; ``events`` server-sent events.
        text: path of the text, or of each piece of it, e.g. ``choices.0.text``.
        error: path of an error message; where it is present the call failed.
        done: path of what is true in the last object of a stream; empty where the stream's own end tells.
        extra_body: merged into the filled body.
        think: whether the model thinks where neither request nor task says so; what ``{think}`` stands for.
        context: tokens of the model's context; a prompt that has more words is not sent. None: not known.
        tls: files for an https address.

    Raises:
        ConfigError: the template holds a placeholder that nothing fills.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        model: str,
        transport: Transport,
        path: str = "/",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        body: Json = None,
        answers: Format = "json",
        text: str = "text",
        error: str = "error",
        done: str = "",
        extra_body: Mapping[str, Json] | None = None,
        think: Think | None = None,
        context: int | None = None,
        tls: TlsFiles | None = None,
    ) -> None:
        self.name, self.model = name, model
        self._backend = Backend(name, base_url, headers=headers, tls=tls)
        self._transport = transport
        self._habit = ReasoningHabit(model)
        self._extra_body, self._think, self._context = dict(extra_body or {}), think, context
        self._method, self._path = method, path
        self._body = Template({"prompt": "{prompt}"} if body is None else body, "providers.request.body")
        self._answers, self._text, self._error, self._done = answers, text, error, done
        if not text:
            raise ConfigError(path=None, key="providers.response.text", got="''", want="a path such as choices.0.text")

    def __repr__(self) -> str:
        return f"<HttpProvider {self.name}: {self.model} at {self._backend.authority}>"

    @property
    def abilities(self) -> Abilities:
        """A template has no place for tools, nor for pictures."""
        return Abilities(cannot=frozenset({"tools", "vision"}))

    def stream(self, call: Call) -> AsyncGenerator[Delta]:
        """As ``Provider.stream``."""
        return completion(
            self._backend,
            partial(self._ask, call),
            RecordFormat(self._read_whole if self._answers == "json" else self._read_piece, never_plain),
            habit=self._habit,
            trusts_unknown_finishes=True,
            ends_by_itself=self._answers != "json" and not self._done,
        )

    def _ask(self, call: Call) -> AbstractAsyncContextManager[Response]:
        if call.tools:
            raise UnsupportedTools(self.name, "a template has no place for tools")
        if call.stop and not self._body.uses("stop"):
            raise Rejected(self.name, "it takes no stop texts", hint="put {stop} into request.body")
        check_fits(self.name, call.prompt, self._context)
        filled = self._body.fill(self.model, call, resolved(call, self._think))
        body = msgspec.json.encode(merged_json(filled, self._extra_body) if self._extra_body else filled)
        return self._transport.stream(self._backend, self._method, self._path, body, call.trace)

    async def state(self) -> ProviderState:
        """Healthy as soon as something answers at base_url: more is not known of it."""
        return await probe_state(self._backend, self.model, self._probe)

    async def load(self) -> None:
        """Nothing: there is no general way to ask for it."""

    async def aclose(self) -> None:
        """Nothing: the transport is shared."""

    async def _probe(self) -> ProviderState:
        reply = await self._transport.request(self._backend, "GET", "/")
        if reply.status >= 500:
            raise error_for(self._backend, reply)
        return ProviderState(name=self.name, model=self.model, condition="healthy")

    def _read_whole(self, value: Json) -> Chunk:
        found = at(value, self._text)
        if isinstance(found, str) or self._error_in(value) is not None:
            return msgspec.structs.replace(self._read_piece(value), done=True)
        raise BadReply(self.name, f"no text at {self._text!r} in the answer")

    def _read_piece(self, value: Json) -> Chunk:
        found, end = at(value, self._text), at(value, self._done) if self._done else None
        return Chunk(
            text=text_of(found),
            reasoning=reasoning_of(found),
            finish=word_of(end),
            done=bool(end),
            error=self._error_in(value),
        )

    def _error_in(self, value: Json) -> Json:
        """What stands at the path of an error, where anything does."""
        return (at(value, self._error) or None) if self._error else None

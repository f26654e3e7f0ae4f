"""
OpenAI's older API over the pool: ``/v1/completions``, a prompt and the text that answers it.

The models are chat models: the prompt is put to them as what a user says, and not continued token by token. What they
think has no place in this API.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

import time
import uuid
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.core.errors import InvalidRequest
from llm_pool.core.messages import Query
from llm_pool.server.chat import decision_details, finish, reject_unsupported
from llm_pool.server.chat_route import add_chat_route
from llm_pool.server.logprobs import check_alone, token_logprobs
from llm_pool.server.openai_words import StreamOptions, error_shape, project_of, stop_texts, usage
from llm_pool.server.openapi_foreign import EVENTS, ForeignOperation
from llm_pool.server.queries import whole
from llm_pool.server.samples import samples
from llm_pool.server.sse import CONTENT_TYPE, PING, data
from llm_pool.server.status import status_of
from llm_pool.wire.json import error_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_pool.core.errors import LlmPoolError
    from llm_pool.core.messages import Answer, Json, ToolCallDelta
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import Model, StreamEnd
    from llm_pool.server.middleware import AccessControl
    from llm_pool.server.routing import Routes

PATH = "/v1/completions"
UNSUPPORTED = {
    "suffix": "the pool completes no text in its middle",
    "echo": "the prompt is not repeated",
    "logit_bias": "the models of a pool have no tokens in common",
}
"""Fields that ask for what cannot be had, and why."""
FIELDS = {"strategy": "model", "task": "model", "project_id": "OpenAI-Project", "top_logprobs": "logprobs"}
"""Where the fields of a query stand in a body, where it has another name for them."""


class CompletionBody(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt; fields that are not here are another server's: one provider alone may take them, or they are told."""

    model: str
    prompt: str | list[Any]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | float | None = None
    temperature: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    best_of: int | None = None
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None
    logit_bias: dict[str, Any] | None = None


def add_routes(routes: Routes, manager: PoolManager, access: AccessControl) -> None:
    """Add the route to *routes*."""
    operation = ForeignOperation(
        path=PATH,
        summary="A prompt, answered, in OpenAI's older shape.",
        source="https://platform.openai.com/docs/api-reference/completions",
        body=CompletionBody,
        example={"model": "pool", "prompt": "Is 17 prime?"},
        streamed=EVENTS,
    )
    add_chat_route(
        routes,
        manager,
        access,
        operation,
        query_of=lambda body, model, scope: query_from(body, model, project_of(scope)),
        encoder_of=lambda body, ignored, _: _Encoder(body, ignored),
        samples_of=_encoders,
        error_shape=error_shape,
        fields=FIELDS,
    )


def _encoders(body: CompletionBody, ignored: Sequence[str]) -> list[_Encoder]:
    """One for each answer, where there are several."""
    count, answer_id = samples(body.n), _new_id()
    return [_Encoder(body, ignored, index, answer_id) for index in range(count)] if count > 1 else []


def query_from(body: CompletionBody, model: Model, project: str = "") -> Query:
    """
    The query in *body*, put to *model*.

    Raises:
        InvalidRequest: it asks for what the pool cannot do; the field says what.
    """
    reject_unsupported(body, UNSUPPORTED)
    if body.best_of not in {None, 1, samples(body.n)}:
        raise InvalidRequest("best_of", "no answers are made that are not given; expected as many as n")
    if body.logprobs is not None:
        check_alone(model)
    return Query(
        prompt=_prompt(body.prompt),
        task=model.task,
        strategy=model.strategy,
        providers=model.providers,
        project_id=project,
        max_tokens=whole(body.max_tokens, "max_tokens"),
        temperature=body.temperature,
        seed=body.seed,
        stop=stop_texts(body.stop),
        top_logprobs=body.logprobs,
        no_cache=body.logprobs is not None,
    )


def _prompt(prompt: str | list[Any]) -> str:
    """The one text in *prompt*; OpenAI takes several, and tokens of its own models."""
    match prompt:
        case str() | [str()]:
            return prompt if isinstance(prompt, str) else prompt[0]
        case [str(), *_]:
            raise InvalidRequest("prompt", f"{len(prompt)} prompts, expected one", hint="send a request for each")
        case _:
            raise InvalidRequest("prompt", "expected text: the models share no tokens")


class _Encoder:
    """What one request is told."""

    content_type = CONTENT_TYPE

    def __init__(self, body: CompletionBody, ignored: Sequence[str], index: int = 0, answer_id: str = "") -> None:
        self._ignored, self._index = ignored, index
        self._body, self._id, self._made = body, answer_id or _new_id(), int(time.time())
        self._counts = body.stream_options is not None and bool(body.stream_options.include_usage)

    def whole(self, answer: Answer) -> dict[str, Json]:
        """The answer in one piece."""
        return {**self._told(answer.content, finish(answer), answer), "usage": usage(answer)}

    def opening(self) -> bytes:
        """Nothing."""
        return b""

    def piece(self, text: str) -> bytes:
        """A chunk of text."""
        return data(self._told(text))

    def thought(self, _text: str) -> bytes:
        """Nothing: a completion is text alone."""
        return b""

    def called(self, _piece: ToolCallDelta) -> bytes:
        """Nothing: no tools are offered here."""
        return b""

    def heartbeat(self) -> bytes:
        """A comment."""
        return PING

    def ending(self, end: StreamEnd) -> bytes:
        """The end of the answer and of the stream."""
        return self.last(end) + self.closing([end.answer])

    def last(self, end: StreamEnd) -> bytes:
        """The rest of the text with the reason for the end."""
        return data(self._told(end.rest, finish(end.answer), end.answer))

    def closing(self, answers: Sequence[Answer]) -> bytes:
        """The counts of all *answers*, if they were asked for, and the mark."""
        counts = {**self._told(""), "choices": [], "usage": usage(*answers)}
        return (data(counts) if self._counts else b"") + b"data: [DONE]\n\n"

    def failed(self, error: LlmPoolError) -> bytes:
        """An error in a chunk's place; there is no mark after it."""
        return data(error_shape(status_of(error).http, error_json(error)))

    def _told(self, text: str, reason: str | None = None, answer: Answer | None = None) -> dict[str, Json]:
        weighed = None if answer is None or self._body.logprobs is None else _logprobs(answer, self._body.logprobs)
        choice = {"text": text, "index": self._index, "logprobs": weighed, "finish_reason": reason}
        head = {"id": self._id, "object": "text_completion", "created": self._made, "model": self._body.model}
        ours = {} if answer is None else {"llm_pool": decision_details(answer, self._ignored)}
        return {**head, "choices": [choice], **ours}


def _logprobs(answer: Answer, top: int) -> dict[str, Json]:
    """How probable each token was; in a stream all of it is at the end."""
    tokens = token_logprobs(answer)
    ends = list(accumulate(len(token.token) for token in tokens))
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.top[:top]) for token in tokens],
        "text_offset": [0, *ends][: len(tokens)],
    }


def _new_id() -> str:
    return f"cmpl-{uuid.uuid4().hex}"

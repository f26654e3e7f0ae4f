"""
Embeddings in the shapes of OpenAI (``/v1/embeddings``) and Ollama (``/api/embed``, ``/api/embeddings``).

A model is named by its own name, and then every provider of it may answer, or by a provider's name, and then that one
does. Vectors of different models are never mixed: ``pool`` is a name here only where there is one model.

Sources: https://platform.openai.com/docs/api-reference/embeddings and
https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import asyncio
import base64
import sys
from array import array
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from llm_pool.config.models import EMBED
from llm_pool.config.problem import nearest
from llm_pool.config.values import POOL
from llm_pool.core.errors import InvalidRequest, UnknownModel
from llm_pool.core.messages import EmbeddingInput
from llm_pool.engine import embedding_query
from llm_pool.server.chat import Model, decision_details, decision_header, models
from llm_pool.server.middleware import send_body
from llm_pool.server.openai_words import error_shape, project_of
from llm_pool.server.openapi_foreign import ForeignOperation
from llm_pool.server.queries import decode
from llm_pool.server.request_context import authorized
from llm_pool.server.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llm_pool.config import Config
    from llm_pool.core.messages import Answer, Json, Vector
    from llm_pool.engine import PoolManager
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send
    from llm_pool.server.routing import Routes

PATH = "/v1/embeddings"
TOKENS = "expected text: the models share no tokens"
VECTORS_AT_ONCE = 16
"""Vectors written before others have their turn of the event loop: at most some milliseconds' worth."""


class OpenAIBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body of ``/v1/embeddings``."""

    model: str
    input: str | list[Any]
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


class EmbedBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body of ``/api/embed``; by Ollama's rule a text that is too long is cut."""

    model: str
    input: str | list[str] | None = None
    dimensions: int | None = None
    truncate: bool | None = None


class EmbeddingsBody(msgspec.Struct, frozen=True, kw_only=True):
    """A body of ``/api/embeddings``, Ollama's older way to ask for one vector."""

    model: str
    prompt: str = ""


def add_routes(routes: Routes, manager: PoolManager, access: AccessControl) -> None:
    """Add the routes to *routes*."""
    routes.add(*EmbeddingRoutes(manager, access).routes())
    routes.error_shapes[PATH] = error_shape
    ollama = "https://github.com/ollama/ollama/blob/main/docs/api.md"
    routes.document(
        ForeignOperation(
            path=PATH,
            summary="Vectors of texts, in OpenAI's shape.",
            source="https://platform.openai.com/docs/api-reference/embeddings",
            body=OpenAIBody,
            example={"model": "nomic-embed-text", "input": ["the sky", "the sea"]},
        ),
        ForeignOperation(
            path="/api/embed",
            summary="Vectors of texts, in Ollama's shape.",
            source=ollama,
            body=EmbedBody,
            example={"model": "nomic-embed-text", "input": ["the sky", "the sea"]},
        ),
        ForeignOperation(
            path="/api/embeddings",
            summary="The vector of one text, in Ollama's older shape.",
            source=ollama,
            body=EmbeddingsBody,
            example={"model": "nomic-embed-text", "prompt": "the sky"},
        ),
    )


class EmbeddingRoutes:
    """The routes of both APIs."""

    def __init__(self, manager: PoolManager, access: AccessControl) -> None:
        self._manager, self._access = manager, access

    def routes(self) -> list[Route]:
        """One for each path."""
        return [
            Route(PATH, self._openai, methods=["POST"]),
            Route("/api/embed", self._ollama, methods=["POST"]),
            Route("/api/embeddings", self._ollama_one, methods=["POST"]),
        ]

    async def _openai(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: OpenAIBody = decode((await receive())["body"], OpenAIBody)
        texts = EmbeddingInput(_texts(body.input), body.dimensions)
        answer = await self._embed(scope, body.model, texts)
        shape = _base64 if body.encoding_format == "base64" else msgspec.json.encode
        head = b'{"object":"embedding","index":%d,"embedding":%b}'
        vectors = (head % (index, shape(vector)) for index, vector in enumerate(answer.json))
        tokens = answer.usage.prompt_tokens or 0
        more = {"model": body.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
        await _send(send, answer, b'{"object":"list","data":[%b],%b', vectors, more)

    async def _ollama(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: EmbedBody = decode((await receive())["body"], EmbedBody)
        asked = [body.input] if isinstance(body.input, str) else body.input or []
        texts = EmbeddingInput(tuple(asked), body.dimensions, body.truncate is not False)
        answer = await self._embed(scope, body.model, texts)
        vectors = map(msgspec.json.encode, answer.json)
        tokens = answer.usage.prompt_tokens or 0
        more = {"model": body.model, "total_duration": round(answer.duration * 1e9), "load_duration": 0}
        await _send(send, answer, b'{"embeddings":[%b],%b', vectors, {**more, "prompt_eval_count": tokens})

    async def _ollama_one(self, scope: Scope, receive: Receive, send: Send) -> None:
        body: EmbeddingsBody = decode((await receive())["body"], EmbeddingsBody)
        answer = await self._embed(scope, body.model, EmbeddingInput((body.prompt,), truncate=True))
        await _send(send, answer, b'{"embedding":%b,%b', map(msgspec.json.encode, answer.json), {"model": body.model})

    async def _embed(self, scope: Scope, model: str, texts: EmbeddingInput) -> Answer:
        providers = providers_of(model, self._manager.config)
        async with authorized(
            self._access, scope, embedding_query(texts, providers, project_id=project_of(scope))
        ) as query:
            return await self._manager.embed(query)


def providers_of(name: str, config: Config) -> tuple[str, ...]:
    """
    The providers that make the vectors of the model *name*: all that have it; where *name* is a provider's, that one;
    where ``[models]`` names it, those of what it stands for.

    Raises:
        UnknownModel: no provider makes embeddings by that name.
    """
    known = embedding_models(config)
    for asked in (name, name.removesuffix(":latest")):
        found = known.get(asked) or known.get(config.model_named_by(asked))
        if found is not None:
            return found
    listed = f"models that make embeddings are {', '.join(known)}" if known else _NOBODY
    raise UnknownModel(name, hint=nearest(name, known) or listed)


def embedding_models(config: Config) -> dict[str, tuple[str, ...]]:
    """Every model that makes embeddings, by name, with its providers; ``pool`` too where there is only one."""
    by_model: dict[str, tuple[str, ...]] = {}
    for settings in config.embedding_providers:
        model = settings.model.removesuffix(":latest")
        by_model[model] = (*by_model.get(model, ()), settings.name)
    alone = {settings.name: (settings.name,) for settings in config.embedding_providers}
    return {**alone, **by_model, **({POOL: next(iter(by_model.values()))} if len(by_model) == 1 else {})}


async def listed_models(manager: PoolManager) -> dict[str, Model]:
    """Every model that a client may name: those that answer, and behind them those that only make embeddings."""
    known, config = dict(await models(manager)), manager.config
    embedding = embedding_models(config)
    for name in (*embedding, *config.models):
        providers = embedding.get(name) or embedding.get(config.model_named_by(name))
        if name not in known and providers is not None:
            known[name] = Model(name, task=EMBED, providers=providers)
    return known


_NOBODY = 'give a provider of an embedding model tasks = ["embed"]'


def _texts(asked: str | list[Any]) -> tuple[str, ...]:
    texts = [asked] if isinstance(asked, str) else asked
    if not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("input", TOKENS, hint="with LangChain: check_embedding_ctx_length=False")
    return tuple(texts)


def _base64(vector: Vector) -> bytes:
    """*vector* as OpenAI packs it: the base64 of 32-bit floats, the low byte first."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return b'"%b"' % base64.b64encode(packed.tobytes())


async def _send(send: Send, answer: Answer, shape: bytes, vectors: Iterable[bytes], more: dict[str, Json]) -> None:
    """Send *vectors* and then *more* in *shape*; others have their turn while there is much to write."""
    pieces: list[bytes] = []
    for piece in vectors:
        pieces.append(piece)
        if len(pieces) % VECTORS_AT_ONCE == 0:
            await asyncio.sleep(0)
    rest = msgspec.json.encode({**more, "llm_pool": _decision(answer)})
    await send_body(send, shape % (b",".join(pieces), rest[1:]), headers=[decision_header(answer)])


def _decision(answer: Answer) -> dict[str, Json]:
    return decision_details(answer, ())

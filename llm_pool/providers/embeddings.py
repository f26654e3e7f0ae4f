"""Vectors in the answers of servers that make them: read, and held against what was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from llm_pool.core.errors import BadReply
from llm_pool.core.messages import Embeddings, Vector  # msgspec reads the annotations
from llm_pool.providers.replies import decode

if TYPE_CHECKING:
    from llm_pool.providers.transport import Backend


class _OllamaReply(msgspec.Struct):
    embeddings: tuple[Vector, ...]
    prompt_eval_count: int | None = None


class _Embedding(msgspec.Struct):
    embedding: Vector
    index: int


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _OpenAIReply(msgspec.Struct):
    data: list[_Embedding]
    usage: _Usage | None = None


def ollama_embeddings(backend: Backend, body: bytes) -> Embeddings:
    """What ``/api/embed`` answers; raises BadReply."""
    reply = decode(backend, body, _OllamaReply)
    return Embeddings(reply.embeddings, reply.prompt_eval_count)


def openai_embeddings(backend: Backend, body: bytes) -> Embeddings:
    """What ``/v1/embeddings`` answers, in the order of the texts whatever the list's is; raises BadReply."""
    reply = decode(backend, body, _OpenAIReply)
    ordered = sorted(reply.data, key=lambda one: one.index)
    if [one.index for one in ordered] != list(range(len(ordered))):
        raise BadReply(backend.name, "its vectors are not numbered from 0 on")
    tokens = None if reply.usage is None else reply.usage.prompt_tokens
    return Embeddings(tuple(one.embedding for one in ordered), tokens)


def checked(backend: Backend, made: Embeddings, count: int, dimensions: int | None) -> Embeddings:
    """
    *made*, where it is *count* vectors of one length, which is *dimensions* where that is given.

    Raises:
        BadReply: it is something else.
    """
    if len(made.vectors) != count:
        raise BadReply(backend.name, f"{len(made.vectors)} vectors for {count} texts")
    lengths = sorted({len(vector) for vector in made.vectors})
    if len(lengths) > 1 or lengths == [0]:
        raise BadReply(backend.name, f"vectors of {' and '.join(map(str, lengths))} dimensions")
    if dimensions is not None and lengths not in ([], [dimensions]):
        hint = "leave dimensions out, or ask a model that can be shortened"
        raise BadReply(backend.name, f"vectors of {lengths[0]} dimensions, {dimensions} were asked for", hint=hint)
    return made

"""A daemon over gRPC."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc

from llm_pool.client.transport import CONNECT, Health, unreachable
from llm_pool.core.errors import Cancelled, DeadlineExceeded, LlmPoolError
from llm_pool.wire import llmpool_pb2 as pb
from llm_pool.wire.aio import enter_aio
from llm_pool.wire.codec import answer_body, chunk_body, query_message, state_body
from llm_pool.wire.json import EventDecoder, answer_from, error_from, state_from

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from llm_pool.client.credentials import Credentials, Tls
    from llm_pool.core.messages import Answer, Query
    from llm_pool.wire.json import StreamEvent

SERVICE = "/llmpool.v1.LLMPool"
OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.enable_retries", 0),  # we retry ourselves, with a new signature each time
)


class GrpcTransport:
    """
    One server.

    Args:
        url: ``grpc://host:port`` or, over TLS, ``grpcs://host:port``.
        credentials: prove each call; None: nobody asks who we are.
        tls: for ``grpcs``.
    """

    def __init__(self, url: str, credentials: Credentials | None, tls: Tls) -> None:
        enter_aio()
        self._url, self._credentials, self._tls = url, credentials, tls
        self._address, self._is_secure = urlsplit(url).netloc, url.startswith("grpcs")
        self._opened: grpc.aio.Channel | None = None

    async def infer(self, query: Query, remaining: float | None) -> Answer:
        """The answer."""
        data = await self._ask("Infer", query_message(query).SerializeToString(), remaining)
        return answer_from(answer_body(pb.Answer.FromString(data)))

    async def stream(self, query: Query, remaining: float | None) -> AsyncGenerator[StreamEvent]:
        """What happens, last the answer."""
        decoder, body = EventDecoder(query.request_id), query_message(query).SerializeToString()
        path = f"{SERVICE}/InferStream"
        method: Any = (await self._channel()).unary_stream(path)
        call = method(body, timeout=remaining, metadata=self._metadata(path, body))
        try:
            async for data in call:
                payload = chunk_body(pb.AnswerChunk.FromString(data))
                event = None if payload is None else decoder.decode(payload)
                if event is not None:
                    yield event
        except grpc.aio.AioRpcError as error:
            raise self._error(error, remaining) from error
        finally:
            call.cancel()

    async def health(self) -> Health:
        """How the backends are."""
        message = pb.HealthResponse.FromString(await self._ask("Health", b"", CONNECT))
        states = tuple(state_from(state_body(state)) for state in message.providers)
        return Health(message.healthy, states, message.version)

    async def feedback(self, request_id: str, *, good: bool) -> bool:
        """Whether something was learned of it."""
        body = pb.FeedbackRequest(request_id=request_id, good=good).SerializeToString()
        return pb.FeedbackResponse.FromString(await self._ask("Feedback", body, None)).learned

    async def aclose(self) -> None:
        """Close the channel."""
        if self._opened is not None:
            await self._opened.close()

    async def _channel(self) -> grpc.aio.Channel:
        """The channel, opened at first use: reading certificates must not hold up the loop."""
        if self._opened is None:
            credentials = await asyncio.to_thread(_credentials, self._tls) if self._is_secure else None
            if self._opened is None:  # another call may have been quicker
                self._opened = _open(self._address, credentials)
        return self._opened

    async def _ask(self, name: str, body: bytes, remaining: float | None) -> bytes:
        path = f"{SERVICE}/{name}"
        call: Any = (await self._channel()).unary_unary(path)
        try:
            data: bytes = await call(body, timeout=remaining, metadata=self._metadata(path, body))
        except grpc.aio.AioRpcError as error:
            raise self._error(error, remaining) from error
        return data

    def _metadata(self, path: str, body: bytes) -> list[tuple[str, str]]:
        if self._credentials is None:
            return []
        return list(self._credentials.headers("GRPC", path, {"content-type": "application/grpc"}, body).items())

    def _error(self, error: grpc.aio.AioRpcError, remaining: float | None) -> LlmPoolError:
        """What the server raised, from the trailer; from the status alone where no server of ours spoke."""
        trailer = dict(error.trailing_metadata()).get("llmpool-error")
        if trailer is not None:
            return error_from({"error": json.loads(trailer)})
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(remaining or 0.0)
        if error.code() is grpc.StatusCode.CANCELLED:
            return Cancelled("the server")
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return unreachable(self._url, error.details() or "unavailable")
        return LlmPoolError(f"{self._url}: {error.code().name}: {error.details()}")


def _open(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    ca, key, cert = (None if path is None else path.read_bytes() for path in (tls.ca, tls.key or tls.cert, tls.cert))
    return grpc.ssl_channel_credentials(ca, key, cert)

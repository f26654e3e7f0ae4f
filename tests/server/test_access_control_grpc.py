"""The same access control over gRPC: what is signed is the serialised message and the metadata."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from llm_pool.security.hmac import sign
from llm_pool.server.components import build_components
from llm_pool.wire import llmpool_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.config import Config

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]

INFER = "/llmpool.v1.LLMPool/Infer"
BODY = pb.Query(prompt="cats", task=pb.EXPAND_QUERIES).SerializeToString()
TWO = """
[tenancy.acme]
api_key = "acme-secret-of-the-tests"
[tenancy.other]
api_key = "other-secret-of-the-tests"
rate_limit_rps = 0.1
rate_limit_burst = 1
"""


@pytest.fixture
async def channel(daemons: Any, config_for: Callable[..., Config]) -> AsyncIterator[grpc.aio.Channel]:
    components = build_components(config_for("http://127.0.0.1:9", TWO))
    async with daemons(TWO, components=components) as daemon:
        address = next(url for url in daemon.urls if url.startswith("grpc")).partition("://")[2]
        async with grpc.aio.insecure_channel(address) as channel:
            yield channel


def signed(body: bytes = BODY, path: str = INFER, **more: Any) -> tuple[tuple[str, str], ...]:
    headers = {"content-type": "application/grpc", **more}
    made = sign(
        "llm-pool",
        "acme",
        "acme-secret-of-the-tests",
        method="GRPC",
        path=path,
        wall=time.time(),
        headers=headers,
        body=body,
    )
    return (*made.items(), *more.items())


async def call(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], body: bytes = BODY, path: str = INFER
) -> tuple[grpc.StatusCode, Any]:
    """The status of one call, and its answer or error."""
    try:
        answer = await channel.unary_unary(path)(body, metadata=metadata, timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code(), error
    return grpc.StatusCode.OK, answer


async def test_a_signed_message_is_served_once(channel: grpc.aio.Channel) -> None:
    """S1: and never again."""
    metadata = signed()

    first, answer = await call(channel, metadata)
    second, _ = await call(channel, metadata)

    assert first is grpc.StatusCode.OK
    assert pb.Answer.FromString(answer).content
    assert second is grpc.StatusCode.UNAUTHENTICATED


async def test_what_is_changed_on_the_way_is_refused(channel: grpc.aio.Channel) -> None:
    """S2: one byte more in the message, which protobuf would not mind; another method; another covered header."""
    appended = BODY + b"\x98\x06\x00"  # an unknown field
    assert pb.Query.FromString(appended).prompt == "cats"

    told = [
        (await call(channel, signed(), appended))[0],
        (await call(channel, signed(path="/llmpool.v1.LLMPool/Health")))[0],
        (
            await call(
                channel,
                tuple((n, v + "1") if n == "x-deadline-ms" else (n, v) for n, v in signed(**{"x-deadline-ms": "900"})),
            )
        )[0],
        (await call(channel, (*signed(), ("x-api-key", "acme"))))[0],
        (await call(channel, ()))[0],
    ]

    assert told == [grpc.StatusCode.UNAUTHENTICATED] * 5


async def test_bearer_keys_and_limits_count_here_too(channel: grpc.aio.Channel) -> None:
    """One rate for both protocols."""
    own = (("authorization", "Bearer other-secret-of-the-tests"),)

    first, _ = await call(channel, own)
    second, error = await call(channel, own)

    assert first is grpc.StatusCode.OK
    assert second is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "try again" in error.details()


async def test_only_the_health_service_is_open(channel: grpc.aio.Channel) -> None:
    """S6: whether we live is for everybody; the rest, reflection too, for clients."""
    from grpc_health.v1 import health_pb2

    health, _ = await call(
        channel, (), health_pb2.HealthCheckRequest().SerializeToString(), "/grpc.health.v1.Health/Check"
    )
    closed = [
        (await call(channel, (), b"", path))[0]
        for path in ("/llmpool.v1.LLMPool/Health", "/vvtv.llmpool.v1.LLMPool/Infer", "/llmpool.v1.LLMPool/Feedback")
    ]
    reflection = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reflection(iter([b""]), timeout=5).read()

    assert health is grpc.StatusCode.OK
    assert closed == [grpc.StatusCode.UNAUTHENTICATED] * 3
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

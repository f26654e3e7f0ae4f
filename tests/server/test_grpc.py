"""The gRPC API over real sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from llm_pool.server.access_control import OPEN, REQUIRED_SCOPES, required_scope
from llm_pool.server.body_limit import SMALLEST
from llm_pool.server.daemon import Components
from llm_pool.server.grpc import SERVICES, HealthService, PoolService, Reflection, decode_infer, grpc_server
from llm_pool.server.middleware import AllowAll
from llm_pool.testing.upstream import ScriptedAnswer
from llm_pool.wire import llmpool_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from llm_pool.engine.generations import PoolManager

pytestmark = [pytest.mark.anyio, pytest.mark.real_loop]


class Running(NamedTuple):
    """A daemon with gRPC, and a channel to it."""

    daemon: Any
    channel: grpc.aio.Channel
    address: str

    @property
    def manager(self) -> PoolManager:
        return self.daemon.manager  # type: ignore[no-any-return]

    def call(self, name: str, service: str = SERVICES[0]) -> Any:
        return self.channel.unary_unary(f"/{service}/{name}")

    async def infer(self, within: float | None = None, service: str = SERVICES[0], **fields: Any) -> pb.Answer:
        query = pb.Query(**fields).SerializeToString()
        return pb.Answer.FromString(await self.call("Infer", service)(query, timeout=within))


@pytest.fixture
def running(daemons: Callable[..., Any]) -> Callable[..., Any]:
    @asynccontextmanager
    async def start(*args: Any, **keywords: Any) -> AsyncIterator[Running]:
        components = Components(servers=(grpc_server("127.0.0.1:0"),))
        async with daemons(*args, components=components, **keywords) as daemon:
            address = daemon.urls[1].removeprefix("grpc://")
            async with grpc.aio.insecure_channel(address) as channel:
                yield Running(daemon, channel, address)

    return start


@pytest.mark.parametrize("service", SERVICES)
async def test_a_question_is_answered_under_both_package_names(running: Any, service: str) -> None:
    """The predecessor's clients call another path; everything else is the same."""
    async with running() as pool:
        answer = await pool.infer(service=service, task=pb.EXPAND_QUERIES, prompt="lounge videos", meta={"k": "v"})

    assert answer.winner_model == "phi3:mini"
    assert answer.decision.strategy_used == pb.FASTEST
    assert list(answer.decision.models_queried) == ["phi3:mini"]
    assert answer.content
    assert answer.request_id
    assert dict(answer.meta) == {"k": "v"}


async def test_the_decision_rides_in_the_trailers(running: Any) -> None:
    """A proxy can log it without knowing the messages."""
    async with running() as pool:
        call = pool.call("Infer")(pb.Query(prompt="hello", strategy=pb.VOTING).SerializeToString())
        answer = pb.Answer.FromString(await call)
        decision = json.loads(dict(await call.trailing_metadata())["llmpool-decision"])

    assert decision["strategy_used"] == "VOTING"
    assert decision["winner"] == answer.winner


async def test_what_models_thought_is_told_in_pieces_and_kept_out_of_trailers(running: Any) -> None:
    """Trailers are short; the message has room for it."""
    thought = "hm, " * 4000 + "yes"
    async with running(answer=lambda _: ScriptedAnswer("Yes.", reasoning=thought)) as pool:
        call = pool.call("Infer")(pb.Query(prompt="Is 17 prime?", no_cache=True).SerializeToString())
        answer = pb.Answer.FromString(await call)
        decision = json.loads(dict(await call.trailing_metadata())["llmpool-decision"])
        query = pb.Query(prompt="Is 17 prime?", no_cache=True).SerializeToString()
        stream = pool.channel.unary_stream(f"/{SERVICES[0]}/InferStream")(query)
        chunks = [pb.AnswerChunk.FromString(piece) async for piece in stream]

    assert (answer.content, answer.finish) == ("Yes.", "stop")
    assert answer.decision.attempts[0].reasoning == thought
    assert decision["attempts"][0]["outcome"] == "ok"
    assert decision["attempts"][0]["reasoning"] is None
    assert "".join(chunk.reasoning.text for chunk in chunks if chunk.HasField("reasoning")) == thought


async def test_a_stream_tells_what_happens_and_ends_with_the_answer(running: Any) -> None:
    """The pieces that are final make up the answer."""
    async with running() as pool:
        call = pool.channel.unary_stream(f"/{SERVICES[0]}/InferStream")(pb.Query(prompt="hello").SerializeToString())
        chunks = [pb.AnswerChunk.FromString(piece) async for piece in call]

    kinds = [chunk.WhichOneof("event") for chunk in chunks]
    assert kinds[0] == "start"
    assert kinds[-1] == "answer"
    text = "".join(chunk.delta.text for chunk in chunks if chunk.HasField("delta") and chunk.delta.final)
    assert text == chunks[-1].answer.content


async def test_an_error_has_its_status_its_json_and_googles_details(running: Any) -> None:
    """Whatever a client understands, it finds."""
    async with running() as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.infer(prompt="hello", strategy=9)

    error = caught.value
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status.details[0].Unpack(info)
    status.details[1].Unpack(request)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert json.loads(trailers["llmpool-error"])["field"] == "strategy"
    assert (info.domain, info.reason) == ("llm-pool", "INVALID_REQUEST")
    assert request.field_violations[0].field == "strategy"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"task": 7}, "task"),
        ({"task": pb.EXPAND_QUERIES, "task_name": "ask"}, "task"),
        ({"task_name": "nope"}, "task"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"deadline_ms": -1}, "deadline_ms"),
        ({"prompt": " "}, "prompt"),
    ],
)
async def test_a_bad_field_is_named(running: Any, fields: dict[str, Any], field: str) -> None:
    """As over HTTP."""
    async with running() as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.infer(**{"prompt": "hello", **fields})

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert json.loads(dict(caught.value.trailing_metadata())["llmpool-error"])["field"] == field


async def test_bytes_that_are_no_message_are_an_invalid_request(running: Any) -> None:
    """Garbage is the sender's mistake."""
    async with running() as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.call("Infer")(b"\xff\xff\xff")

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_over_the_limit_is_refused(running: Any) -> None:
    """Bounded as the body is over HTTP."""
    async with running() as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.infer(prompt="x" * SMALLEST)

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_calls_deadline_counts_and_the_server_says_what_happened(running: Any) -> None:
    """The answer to a late call comes back before the client gives up, with the attempts."""
    async with running(ttft="const:30") as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.infer(prompt="hello", within=0.5)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    body = json.loads(dict(caught.value.trailing_metadata())["llmpool-error"])
    assert 400 < body["asked_ms"] < 500
    assert body["attempts"]


async def test_a_client_that_cancels_ends_the_request(running: Any) -> None:
    """Nobody goes on generating for nobody."""
    async with running(ttft="const:30") as pool:
        call = pool.call("Infer")(pb.Query(prompt="hello").SerializeToString())
        await _until(lambda: pool.manager.in_flight == 1)

        call.cancel()

        await _until(lambda: pool.manager.in_flight == 0)


async def test_a_client_that_leaves_a_stream_ends_the_request(running: Any) -> None:
    """Also in the middle of a stream."""
    async with running(ttft="const:30") as pool:
        call = pool.channel.unary_stream(f"/{SERVICES[0]}/InferStream")(pb.Query(prompt="hello").SerializeToString())
        await call.read()

        call.cancel()

        await _until(lambda: pool.manager.in_flight == 0)


async def test_health_says_what_readyz_says(running: Any, ask: Callable[..., Any]) -> None:
    """Check, List and Watch agree with HTTP, before and after the pool begins to stop."""
    async with running() as pool:
        watch = pool.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        first = health_pb2.HealthCheckResponse.FromString(await watch.read()).status
        before = await _health_status(pool), (await ask(pool.daemon.url, "GET", "/readyz")).status
        await pool.manager.drain(0.0)
        after = await _health_status(pool), (await ask(pool.daemon.url, "GET", "/readyz")).status
        second = health_pb2.HealthCheckResponse.FromString(await watch.read()).status
        watch.cancel()

    assert before == ({1}, 200)
    assert after == ({2}, 503)
    assert (first, second) == (1, 2)


async def test_the_health_of_a_service_nobody_knows_is_not_found(running: Any) -> None:
    """As the health protocol says."""
    async with running() as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.channel.unary_unary("/grpc.health.v1.Health/Check")(
                health_pb2.HealthCheckRequest(service="nope").SerializeToString()
            )

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_pools_own_health_names_every_provider(running: Any) -> None:
    """The predecessor's map, and the states behind it."""
    async with running() as pool:
        health = pb.HealthResponse.FromString(await pool.call("Health")(b""))

    assert health.healthy
    assert dict(health.provider_status) == {"phi3": "healthy", "llama3.1": "healthy", "gemma2": "healthy"}
    assert [state.model for state in health.providers] == ["phi3:mini", "llama3.1:8b", "gemma2:9b"]


async def test_feedback_on_a_request_nobody_made_is_refused(running: Any) -> None:
    """It names the field, as over HTTP."""
    async with running() as pool:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.call("Feedback")(pb.FeedbackRequest(request_id="nope", good=True).SerializeToString())

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_draining_server_says_unavailable_and_when_to_come_back(running: Any) -> None:
    """So that a client tries another one."""
    async with running() as pool:
        await pool.manager.drain(0.0)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pool.infer(prompt="hello")

    trailers = dict(caught.value.trailing_metadata())
    retry = error_details_pb2.RetryInfo()
    status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details[1].Unpack(retry)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert retry.retry_delay.seconds == 1


@pytest.mark.parametrize("service", SERVICES)
async def test_a_client_that_knows_nothing_finds_out_by_reflection(running: Any, service: str) -> None:
    """As grpcurl does: list the services, fetch the messages, call."""
    async with running() as pool:
        answer = await asyncio.to_thread(_ask_by_reflection, pool.address, service)

    assert answer.winner_model == "phi3:mini"


async def test_reflection_answers_as_v1_too(running: Any) -> None:
    """Newer tools ask for that first."""
    async with running() as pool:
        call = pool.channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        said = [piece async for piece in call(iter([b"\x3a\x01*"]))]  # list_services

    assert all(service.encode() in said[0] for service in SERVICES)


async def test_an_address_that_is_taken_is_a_mistake_with_its_key(running: Any, daemons: Any) -> None:
    """Two daemons on one port would share its connections."""
    from llm_pool.core.errors import ConfigError

    async with running() as pool:
        with pytest.raises(ConfigError, match=r"server\.grpc_addr"):
            async with daemons(components=Components(servers=(grpc_server(pool.address),))):
                pass


async def test_every_call_has_a_decision_who_may_make_it() -> None:
    """A new one without a decision would be for operators alone, and fails here."""
    handlers = {
        **PoolService(None, None).handlers(),
        **HealthService(None).handlers(),
        **Reflection(AllowAll()).handlers(),
    }  # type: ignore[arg-type]

    undecided = [p for p in handlers if p.encode() not in OPEN and required_scope(p.encode()).value != "infer"]

    assert undecided == []
    assert any("LLMPool" in pattern for pattern in REQUIRED_SCOPES)


async def test_zero_and_nothing_are_the_defaults() -> None:
    """As in the predecessor, and as protobuf has it."""
    query = decode_infer(pb.Query(prompt="hello").SerializeToString())

    assert (query.task, query.max_tokens, query.deadline, query.strategy) == ("ask", None, None, None)


async def _health_status(pool: Running) -> set[int]:
    check = health_pb2.HealthCheckResponse.FromString(
        await pool.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    )
    every = health_pb2.HealthListResponse.FromString(await pool.channel.unary_unary("/grpc.health.v1.Health/List")(b""))
    return {check.status, *(status.status for status in every.statuses.values())}


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)


def _ask_by_reflection(address: str, service: str) -> Any:
    from google.protobuf.message_factory import GetMessageClass

    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert service in database.get_services()
        method = DescriptorPool(database).FindServiceByName(service).FindMethodByName("Infer")
        query = GetMessageClass(method.input_type)(prompt="hello")
        body = channel.unary_unary(f"/{service}/Infer")(query.SerializeToString())
        return GetMessageClass(method.output_type).FromString(body)


ANOTHER = (("x-request-id", "corr-1"),)


@pytest.mark.parametrize("name", ["Infer", "Health", "Feedback"])
@pytest.mark.parametrize("body", [pb.Query(prompt="hello").SerializeToString(), b"\xff"], ids=["good", "garbage"])
async def test_every_end_of_a_call_names_it(running: Any, name: str, body: bytes) -> None:
    """By the caller's id, or a new one."""
    async with running() as pool:
        named, unnamed = pool.call(name)(body, metadata=ANOTHER), pool.call(name)(body)
        await asyncio.gather(named, unnamed, return_exceptions=True)
        said = [dict(await call.trailing_metadata())["x-request-id"] for call in (named, unnamed)]

    assert said[0] == "corr-1"
    assert len(said[1]) == 32


async def test_a_stream_names_its_call_too(running: Any) -> None:
    """With the id that is in the answer."""
    async with running() as pool:
        query = pb.Query(prompt="hello").SerializeToString()
        call = pool.channel.unary_stream(f"/{SERVICES[0]}/InferStream")(query, metadata=ANOTHER)
        chunks = [pb.AnswerChunk.FromString(piece) async for piece in call]

        assert dict(await call.trailing_metadata())["x-request-id"] == "corr-1"
    assert chunks[-1].answer.request_id == "corr-1"


async def test_the_same_key_is_replayed(running: Any) -> None:
    """As over HTTP; for another body it is refused."""
    key = (("idempotency-key", "key"),)
    async with running() as pool:
        query = pb.Query(prompt="hello", no_cache=True).SerializeToString()
        first = pb.Answer.FromString(await pool.call("Infer")(query, metadata=key))
        asked = pool.daemon.upstream.counts.requests
        again = pb.Answer.FromString(await pool.call("Infer")(query, metadata=key))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await pool.call("Infer")(pb.Query(prompt="other").SerializeToString(), metadata=key)

    assert pool.daemon.upstream.counts.requests == asked
    assert (first.request_id, again.request_id, first.content) == ("key", "key", again.content)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Idempotency-Key" in str(refused.value.details())

"""
The gRPC API: messages become queries, answers become messages, and nothing is decided here; ``http`` is its twin.

Handlers take the bytes that came and give bytes: signatures cover them. The same handlers answer under the
predecessor's package name. Beside them stand the standard health service, which says what ``/readyz`` says, and
reflection, as v1 and v1alpha.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import msgspec
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from llm_pool import __version__
from llm_pool.core.errors import ConfigError, InvalidRequest, LlmPoolError
from llm_pool.core.messages import Tool
from llm_pool.server.body_limit import body_limit
from llm_pool.server.body_values import is_too_much
from llm_pool.server.queries import query_from, with_cache_control, with_deadline
from llm_pool.server.request_context import client_fields
from llm_pool.server.request_headers import correlation_id, identified
from llm_pool.server.status import status_of
from llm_pool.telemetry.logs import name_request
from llm_pool.telemetry.tracing import set_trace_context
from llm_pool.wire import llmpool_pb2 as pb
from llm_pool.wire.aio import enter_aio
from llm_pool.wire.codec import (
    TASKS,
    answer_message,
    chunk_message,
    images_from,
    state_message,
    turns_from,
)
from llm_pool.wire.json import EventEncoder, answer_json, decision_json, error_code, error_json, state_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from llm_pool.core.messages import Answer, Json, Query
    from llm_pool.engine import PoolManager
    from llm_pool.server.daemon import Server
    from llm_pool.server.middleware import AccessControl, Principal

    Context = grpc.aio.ServicerContext[bytes, bytes]

SERVICES = ("llmpool.v1.LLMPool", "vvtv.llmpool.v1.LLMPool")
HEALTH = "grpc.health.v1.Health"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

TRAILER = 4096
"""Bytes of JSON in a trailer: clients accept 8 KiB of headers in all, unless they are told otherwise."""
SHUTDOWN_GRACE = 2.0
"""Seconds an answer that is ready may take to be sent when the server stops."""
RETURN_SHARE, RETURN_AT_MOST = 0.05, 0.02
"""Part of a call's time, and seconds at most, kept for the way back: a client that waits 1 s hears after 0.98 s why."""
WATCH_EVERY = 1.0
"""Seconds between two looks for those who watch the health."""

OPTIONS = (
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # identity only: nothing that unpacks to more than it seems
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 3),
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    ("grpc.max_connection_age_ms", 60 * 60_000),  # so that a balancer in front gets to spread old connections
    ("grpc.max_connection_age_grace_ms", 10 * 60_000),
)

_log = logging.getLogger("llm_pool.server")


def grpc_server(addr: str, credentials: grpc.ServerCredentials | None = None, *, shares: bool = False) -> Server:
    """
    A gRPC server at *addr*, ``host:port``; port 0 takes a free one. With *credentials*, over TLS.

    *shares*: others may listen there too, and each gets some of the connections.
    """

    @asynccontextmanager
    async def serve(manager: PoolManager, access: AccessControl) -> AsyncIterator[str]:
        server = create_server(manager, access, shares=shares)
        port = _bound(server, addr, credentials)
        await server.start()
        try:
            yield f"grpc{'s' if credentials else ''}://{addr.rpartition(':')[0]}:{port}"
        finally:
            await server.stop(SHUTDOWN_GRACE)

    return serve


def create_server(manager: PoolManager, access: AccessControl, *, shares: bool = False) -> grpc.aio.Server:
    """
    The gRPC server, bound to no address yet.

    Args:
        manager: answers.
        access: decides who may ask for what.
        shares: its address may be that of others too; else one that is taken is an error, not a second server on it.
    """
    enter_aio()
    limit = ("grpc.max_receive_message_length", body_limit(manager.config))  # that of the start: gRPC takes no other
    reuse = ("grpc.so_reuseport", int(shares))
    server = grpc.aio.server(options=(*OPTIONS, limit, reuse))
    own, health, reflection = PoolService(manager, access), HealthService(manager), Reflection(access)
    server.add_generic_rpc_handlers((_Table({**own.handlers(), **health.handlers(), **reflection.handlers()}),))
    return server


class PoolService:
    """The calls of our own API."""

    def __init__(self, manager: PoolManager, access: AccessControl) -> None:
        self._manager, self._access = manager, access

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """One for each path."""
        calls = {"Infer": self._infer, "Health": self._health, "Feedback": self._feedback}
        table: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        for service in SERVICES:
            for name, call in calls.items():
                table[f"/{service}/{name}"] = grpc.unary_unary_rpc_method_handler(
                    self._authenticated(f"/{service}/{name}", call)
                )
            path = f"/{service}/InferStream"
            table[path] = grpc.unary_stream_rpc_method_handler(self._authenticated(path, self._infer_stream))
        return table

    def _authenticated(self, path: str, call: Callable[[_Rpc], Awaitable[bytes]]) -> Callable[..., Awaitable[bytes]]:
        async def handle(body: bytes, context: Context) -> bytes:
            rpc = _Rpc(body, context)
            try:
                rpc.principal = await self._access.authenticate(rpc.headers, "GRPC", path.encode(), b"", body)
                return await call(rpc)
            except LlmPoolError as error:
                failure = error
            except Exception:  # noqa: BLE001  # a client gets an answer, the log gets the traceback
                _log.exception("a bug in llm-pool, while serving %s", path)
                failure = LlmPoolError("a bug in llm-pool; its log has the details")
            return await _fail(context, failure, rpc.id_trailer)

        return handle

    async def _infer(self, rpc: _Rpc) -> bytes:
        with client_fields(rpc.headers):
            query = rpc.query()
            async with self._access.authorize(rpc.principal, _as_called(query, rpc)) as authorized:
                answer = await self._manager.infer(authorized)
        body = answer_json(answer)
        rpc.context.set_trailing_metadata((("llmpool-decision", _decision(body["decision"])), rpc.id_trailer))
        return answer_message(body, query.meta).SerializeToString()

    async def _infer_stream(self, rpc: _Rpc) -> bytes:
        with client_fields(rpc.headers):
            query = rpc.query()
            async with self._access.authorize(rpc.principal, _as_called(query, rpc)) as authorized:
                answer = await stream(self._manager, authorized, rpc.context, query.meta)
        decision = _decision(decision_json(answer.decision))
        rpc.context.set_trailing_metadata((("llmpool-decision", decision), rpc.id_trailer))
        return b""

    async def _health(self, rpc: _Rpc) -> bytes:
        _decoded(pb.HealthRequest, rpc.body)
        rpc.context.set_trailing_metadata((rpc.id_trailer,))
        health = await self._manager.health()
        message = pb.HealthResponse(
            healthy=health.ready and not self._manager.is_draining,
            provider_status={state.name: state.condition for state in health.states},
            version=__version__,
            providers=[state_message(state_json(state)) for state in health.states],
        )
        return message.SerializeToString()

    async def _feedback(self, rpc: _Rpc) -> bytes:
        request = _decoded(pb.FeedbackRequest, rpc.body)
        rpc.context.set_trailing_metadata((rpc.id_trailer,))
        learned = await self._manager.feedback(request.request_id, rpc.principal.tenant_id, good=request.good)
        return pb.FeedbackResponse(learned=learned).SerializeToString()


async def stream(manager: PoolManager, query: Query, context: Context, meta: dict[str, str]) -> Answer:
    """Answer *query* chunk by chunk, with *meta* in the answer, and give it; raises LlmPoolError wherever it fails."""
    encoder, queue = EventEncoder(), asyncio.Queue["dict[str, Json] | None"]()

    def emit(event: Any) -> None:
        for payload in encoder.encode(event):
            queue.put_nowait(payload)

    inference = asyncio.create_task(manager.infer(query, emit))
    inference.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (payload := await queue.get()) is not None:
            await context.write(chunk_message(query.request_id, payload, meta).SerializeToString())
        answer = await inference
        for payload in encoder.encode(answer):
            await context.write(chunk_message(answer.request_id, payload, meta).SerializeToString())
    finally:
        inference.cancel()
        await asyncio.wait([inference])
    return answer


def decode_infer(body: bytes) -> Query:
    """The query in *body*, a serialised ``Query``; raises InvalidRequest."""
    request = _decoded(pb.Query, body)
    return query_from(
        prompt=request.prompt,
        task=_task(request),
        request_id=request.request_id,
        tenant_id=request.tenant_id,
        project_id=request.project_id,
        max_tokens=request.max_tokens,
        deadline=request.deadline_ms / 1000,
        strategy=_strategy(request.strategy),
        meta=request.meta,
        no_cache=request.no_cache,
        think=request.think,
        turns=turns_from(request.turns),
        output_schema=_json_object(request.output_schema, "output_schema") if request.output_schema else None,
        temperature=request.temperature if request.HasField("temperature") else None,
        seed=request.seed if request.HasField("seed") else None,
        stop=request.stop,
        providers=request.providers,
        tools=tuple(_tool(tool, at) for at, tool in enumerate(request.tools)),
        tool_choice=request.tool_choice,
        parallel_tool_calls=not request.HasField("parallel_tool_calls") or request.parallel_tool_calls,
        images=images_from(request.images),
    )


def _tool(message: pb.Tool, at: int) -> Tool:
    parameters = _json_object(message.parameters, f"tools[{at}].parameters") if message.parameters else {}
    return Tool(message.name, message.description, parameters)


def _json_object(text: str, field: str) -> dict[str, Json]:
    """The object in *text*; raises InvalidRequest, naming *field*."""
    if is_too_much(text.encode()):
        raise InvalidRequest(field, "it holds too many values")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(field, f"expected the JSON of an object: {error}") from None


class HealthService:
    """``grpc.health.v1``: the pool under its services' names, and as a whole under the empty one."""

    def __init__(self, manager: PoolManager) -> None:
        self._manager = manager

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[bytes, bytes]]:
        """One for each path."""
        return {
            f"/{HEALTH}/Check": grpc.unary_unary_rpc_method_handler(self._check),
            f"/{HEALTH}/List": grpc.unary_unary_rpc_method_handler(self._list),
            f"/{HEALTH}/Watch": grpc.unary_stream_rpc_method_handler(self._watch),
        }

    async def _check(self, body: bytes, context: Context) -> bytes:
        if not self._knows(body):
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return _serialised(health_pb2.HealthCheckResponse(status=await self._status()))

    async def _list(self, _body: bytes, _context: Context) -> bytes:
        status = health_pb2.HealthCheckResponse(status=await self._status())
        return _serialised(health_pb2.HealthListResponse(statuses=dict.fromkeys(("", *SERVICES), status)))

    async def _watch(self, body: bytes, context: Context) -> None:
        last = None
        while True:
            status = await self._status() if self._knows(body) else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                await context.write(_serialised(health_pb2.HealthCheckResponse(status=status)))
            last = status
            await asyncio.sleep(WATCH_EVERY)

    async def _status(self) -> int:
        is_ready = not self._manager.is_draining and (await self._manager.health()).ready
        return int(health_pb2.HealthCheckResponse.ServingStatus.Value("SERVING" if is_ready else "NOT_SERVING"))

    @staticmethod
    def _knows(body: bytes) -> bool:
        try:
            return health_pb2.HealthCheckRequest.FromString(body).service in {"", *SERVICES}
        except DecodeError:
            return False


class Reflection:
    """``grpc.reflection``, for those who may come in: which services there are, and their messages."""

    def __init__(self, access: AccessControl) -> None:
        self._access = access
        self._inner = ReflectionServicer((*SERVICES, HEALTH, *REFLECTION[1:]), _descriptors())

    def handlers(self) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
        """One for each path; v1 and v1alpha have the same messages."""
        return {
            path: grpc.stream_stream_rpc_method_handler(
                self._authenticated(path),
                request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
                response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
            for path in (f"/{service}/ServerReflectionInfo" for service in REFLECTION)
        }

    def _authenticated(self, path: str) -> Callable[..., AsyncIterator[Any]]:
        async def handle(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            rpc = _Rpc(b"", context)
            try:
                await self._access.authenticate(rpc.headers, "GRPC", path.encode(), b"", b"")
            except LlmPoolError as error:
                await _fail(context, error, rpc.id_trailer)
            async for response in self._inner.ServerReflectionInfo(requests, context):
                yield response

        return handle


class _Rpc:
    """A call: the bytes and the metadata that came, who sent them, and gRPC's own side of it."""

    principal: Principal

    def __init__(self, body: bytes, context: Context) -> None:
        self.body, self.context = body, context
        metadata: Any = context.invocation_metadata() or ()
        self.headers = [(_bytes(name), _bytes(value)) for name, value in metadata]
        self._name(correlation_id(self.headers))
        set_trace_context(self.headers)

    def query(self) -> Query:
        """The query that came, under the ids of the metadata; raises InvalidRequest."""
        query = identified(decode_infer(self.body), self.headers, self._request_id)
        self._name(query.correlation_id)
        return query

    @property
    def id_trailer(self) -> tuple[str, str]:
        """What goes with every end of the call."""
        return "x-request-id", self._request_id

    def _name(self, request_id: str) -> None:
        self._request_id = request_id
        name_request(request_id)


class _Table(grpc.GenericRpcHandler):
    """Handlers by path."""

    def __init__(self, handlers: dict[str, grpc.RpcMethodHandler[Any, Any]]) -> None:
        self.handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The one that serves a call; None answers UNIMPLEMENTED."""
        return self.handlers.get(handler_call_details.method)


def _bound(server: grpc.aio.Server, addr: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(addr)
        return server.add_secure_port(addr, credentials)
    except RuntimeError:
        raise ConfigError(
            path=None,
            key="server.grpc_addr",
            got=f"{addr} (address already in use, or not ours)",
            want="an address that is free",
            hint="another llm-pool may be running there; port 0 takes any free port",
        ) from None


async def _fail(context: Context, error: LlmPoolError, id_trailer: tuple[str, str]) -> bytes:
    """End a call with *error*: its status, its sentence, and as trailers its JSON and Google's error details."""
    code = grpc.StatusCode[status_of(error).grpc]
    trailers = (
        ("llmpool-error", _bounded(_without_reasoning(error_json(error)["error"]), ("attempts", "decision"))),
        ("grpc-status-details-bin", _details(error, code)),
        id_trailer,
    )
    await context.abort(code, str(error)[:1000], trailers)
    return b""


def _details(error: LlmPoolError, code: grpc.StatusCode) -> bytes:
    """A serialised ``google.rpc.Status``: ErrorInfo always, BadRequest and RetryInfo where they say something."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=error_code(error).upper(), domain="llm-pool")]
    if isinstance(error, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field[:100], description=error.reason[:500])
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if (seconds := getattr(error, "retry_after", None)) is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(seconds * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for box, detail in zip(packed, details, strict=True):
        box.Pack(detail)
    number: int = code.value[0]
    return _serialised(status_pb2.Status(code=number, message=str(error)[:1000], details=packed))


def _serialised(message: Message) -> bytes:
    return message.SerializeToString()


def _decision(body: dict[str, Json]) -> str:
    """A decision as JSON, for a trailer; *body* is of ``wire.decision_json``."""
    return _bounded(_without_reasoning(body), ("attempts", "judge", "clusters", "notes", "scores", "reason"))


def _without_reasoning(body: dict[str, Json]) -> dict[str, Json]:
    """*body* with attempts that fit into a trailer: what models thought may be long, and is in the message."""
    if "attempts" not in body:
        return body
    return {**body, "attempts": [{**attempt, "reasoning": None} for attempt in body["attempts"]]}


def _bounded(body: dict[str, Json], expendable: tuple[str, ...]) -> str:
    """*body* as JSON in ASCII of at most ``TRAILER`` bytes: what is expendable goes, one after the other."""
    text = _ascii(body)
    for name in expendable:
        if len(text) > TRAILER and name in body:
            body = {key: value for key, value in body.items() if key != name} | {"shortened": True}
            text = _ascii(body)
    if len(text) > TRAILER:
        text = _ascii({name: value for name, value in body.items() if len(str(value)) < 500})
    return text


def _ascii(body: dict[str, Json]) -> str:
    """*body* as JSON in ASCII, with escapes where it has other letters."""
    text = msgspec.json.encode(body)
    return text.decode() if text.isascii() else json.dumps(body)


def _left(context: Context) -> float | None:
    """Seconds that the client still waits, less the way back; None: it waits for ever."""
    left: float | None = context.time_remaining()  # typed as never None, which it is without a deadline
    return None if left is None else left - min(RETURN_AT_MOST, left * RETURN_SHARE)


def _as_called(query: Query, rpc: _Rpc) -> Query:
    """*query* by its call's deadline, and by ``cache-control`` in its metadata."""
    return with_cache_control(with_deadline(query, _left(rpc.context)), rpc.headers)


def _decoded(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError:
        raise InvalidRequest("body", f"not a {kind.DESCRIPTOR.full_name}") from None


def _task(request: pb.Query) -> str:
    """The task's name, from its number or from the name itself."""
    if request.task != pb.TASK_UNSPECIFIED and request.task not in TASKS:
        raise InvalidRequest("task", f"there is no number {request.task}", hint="task_name takes any task by its name")
    numbered = TASKS.get(request.task, "")
    if numbered and request.task_name not in {"", numbered}:
        raise InvalidRequest("task", f"{numbered} by its number, {request.task_name} by its name", hint="give one")
    return request.task_name or numbered


def _strategy(number: int) -> str:
    """A strategy's name; for an unknown number, the number, which ``query_from`` refuses."""
    return _STRATEGIES.get(number, str(number))


_STRATEGIES = {number: name for name, number in pb.Strategy.items()} | {pb.STRATEGY_UNSPECIFIED: ""}


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _descriptors() -> descriptor_pool.DescriptorPool:
    """The files of every service, and ours a second time under the predecessor's package."""
    pool = descriptor_pool.DescriptorPool()
    for source in (pb.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        file = descriptor_pb2.FileDescriptorProto()
        source.CopyToProto(file)
        pool.Add(file)
    own = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(own)
    pool.Add(_renamed(own))
    return pool


def _renamed(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """*file* under the predecessor's package."""
    file.name, file.package = f"vvtv/{file.name}", f"vvtv.{file.package}"
    pending = list(file.message_type)
    while pending:
        message = pending.pop()
        pending += message.nested_type
        for field in message.field:
            if field.type_name:  # set to nothing, it would count as set
                field.type_name = field.type_name.replace(".llmpool.", ".vvtv.llmpool.", 1)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(".llmpool.", ".vvtv.llmpool.", 1)
        method.output_type = method.output_type.replace(".llmpool.", ".vvtv.llmpool.", 1)
    return file

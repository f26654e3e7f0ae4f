"""A route that answers in the shape of another API: read the body, ask the pool, tell the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llm_pool.server.chat import model_named, respond
from llm_pool.server.queries import decode
from llm_pool.server.routing import Route
from llm_pool.server.samples import respond_samples
from llm_pool.server.unserved_fields import fields_beyond, unserved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from llm_pool.core.messages import Query
    from llm_pool.engine import PoolManager
    from llm_pool.server.chat import ChatEncoder, Model
    from llm_pool.server.middleware import AccessControl, Receive, Scope, Send
    from llm_pool.server.openapi_foreign import ForeignOperation
    from llm_pool.server.routing import Routes
    from llm_pool.server.samples import SampleEncoder


def add_chat_route(
    routes: Routes,
    manager: PoolManager,
    access: AccessControl,
    operation: ForeignOperation,
    *,
    query_of: Callable[[Any, Model, Scope], Query],
    encoder_of: Callable[[Any, Sequence[str], bytes], ChatEncoder],
    error_shape: Any,
    fields: Mapping[str, str],
    samples_of: Callable[[Any, Sequence[str]], Sequence[SampleEncoder]] = lambda _body, _ignored: (),
) -> None:
    """
    Add the route of *operation* to *routes*, and to its document.

    Args:
        routes: the daemon's.
        manager: the pool that is asked.
        access: says what its sender may ask.
        operation: its body is a struct with ``model`` and ``stream``; fields beyond it are not served.
        query_of: the query in a body, put to a model; raises InvalidRequest.
        encoder_of: tells the answer to a body, with the names of what is ignored; it is given the body as sent, too.
        error_shape: how this API tells an error.
        fields: the client's name of a query's field, where it differs.
        samples_of: where a body asks for several answers, what tells each; else nothing.
    """
    kind: Any = operation.body
    served = frozenset(kind.__struct_fields__)

    async def ask(scope: Scope, receive: Receive, send: Send) -> None:
        sent = (await receive())["body"]
        body = decode(sent, kind)
        model = await model_named(body.model, manager)
        beyond = unserved(fields_beyond(sent, served), model, manager.config)
        query = msgspec.structs.replace(query_of(body, model, scope), extra=beyond.passed)
        stream = bool(body.stream)
        if several := samples_of(body, beyond.ignored):
            await respond_samples(manager, access, scope, query, several, send, stream=stream, fields=fields)
            return
        encoder = encoder_of(body, beyond.ignored, sent)
        await respond(manager, access, scope, query, encoder, send, stream=stream, fields=fields)

    routes.add(Route(operation.path, ask, methods=["POST"]))
    routes.error_shapes[operation.path] = error_shape
    routes.document(operation)

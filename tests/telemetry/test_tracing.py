from __future__ import annotations

import contextvars
from typing import Any

import msgspec
import pytest

from llm_pool.core.errors import AllProvidersFailed
from llm_pool.core.events import RequestAnswered, RequestFailed
from llm_pool.core.messages import Query
from llm_pool.telemetry.tracing import set_trace_context
from llm_pool.testing import an_answer

pytest.importorskip("opentelemetry.sdk")
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def spans(*events: Any, parent: bytes | None = None, share: float = 1.0) -> list[Any]:
    """The spans made of *events*, the request's last."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from llm_pool.telemetry.tracing import Tracing

    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter), share)

    def tell() -> None:
        if parent is not None:
            set_trace_context([(b"host", b"x"), (b"traceparent", parent)])
        for event in events:
            tracing.on(event)

    contextvars.copy_context().run(tell)
    tracing.aclose()
    return list(exporter.get_finished_spans())


def test_a_request_is_a_span_and_so_is_each_attempt() -> None:
    """The attempt lies within the request, in time and in the tree."""
    attempt, request = spans(RequestAnswered(Query(prompt="secret", tenant_id="acme"), an_answer()))

    assert (request.name, attempt.name) == ("infer ask", "chat phi3:mini")
    assert attempt.parent.span_id == request.context.span_id
    assert request.end_time - request.start_time == pytest.approx(0.5e9, abs=1e3)
    assert request.start_time <= attempt.start_time <= attempt.end_time <= request.end_time + 1000
    assert attempt.attributes["gen_ai.request.model"] == "phi3:mini"
    assert request.attributes["llm_pool.tenant"] == "acme"
    assert "secret" not in str(request.attributes) + str(attempt.attributes)


def test_the_clients_trace_goes_on() -> None:
    """W3C trace context: the request's span is a child of the client's."""
    *_, request = spans(RequestAnswered(Query(prompt=""), an_answer()), parent=PARENT)

    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"


@pytest.mark.parametrize("parent", [b"", b"00-nonsense-01", b"\xff\xfe"])
def test_a_broken_trace_context_begins_a_trace_of_its_own(parent: bytes) -> None:
    """It is no error."""
    *_, request = spans(RequestAnswered(Query(prompt=""), an_answer()), parent=parent)

    assert request.parent is None


def test_the_client_decides_whether_its_trace_is_kept() -> None:
    """Others are sampled by share."""
    asked = RequestAnswered(Query(prompt=""), an_answer())

    assert spans(asked, share=0.0) == []
    assert len(spans(asked, parent=PARENT, share=0.0)) == 2
    assert spans(asked, parent=PARENT[:-1] + b"0") == []


def test_a_failed_request_says_why() -> None:
    """With the attempts that its error holds."""
    attempt = msgspec.structs.replace(
        an_answer().decision.attempts[0], outcome="failed", error="503", error_kind="failed", reading=None
    )

    failed, request = spans(RequestFailed(Query(prompt=""), AllProvidersFailed("ask", [attempt]), 0.5))

    assert request.attributes["error.type"] == "all_providers_failed"
    assert failed.attributes["error.type"] == "failed"
    assert not request.status.is_ok


def test_a_shared_run_has_its_attempts_in_one_trace() -> None:
    """Whoever joined has a span of its own only."""
    answer = an_answer()

    made = spans(RequestAnswered(Query(prompt=""), answer), RequestAnswered(Query(prompt=""), answer))

    assert [span.name for span in made] == ["chat phi3:mini", "infer ask", "infer ask"]

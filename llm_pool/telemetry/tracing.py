"""
OpenTelemetry: a span for every request and, below it, one for every call to a provider.

Spans are made when a request has ended, from what its events say, with the times they say: nothing is kept for a
request while it runs. Where the client sent a W3C trace context, its trace goes on.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from llm_pool import __version__
from llm_pool.core.errors import ConfigError
from llm_pool.core.events import RequestAnswered, RequestFailed
from llm_pool.telemetry import genai
from llm_pool.telemetry.deduplication import DecisionDeduplicator
from llm_pool.wire.json import error_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

    from llm_pool.core.events import Event
    from llm_pool.core.messages import Attempt

EXPORT_TIME = 2.0
"""Seconds that sending a batch of spans may take."""
NANO = 1_000_000_000

_trace_context: ContextVar[Mapping[str, str]] = ContextVar("the client's trace context")


def set_trace_context(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Note the trace context in *headers* for the request that this task serves; https://www.w3.org/TR/trace-context."""
    sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in _HEADERS}
    _trace_context.set(sent)


_HEADERS = frozenset({b"traceparent", b"tracestate"})


class Tracing:
    """
    An observer that makes spans.

    Args:
        processor: takes them.
        share: of requests that are traced, where the client does not say.
    """

    def __init__(self, processor: SpanProcessor, share: float = 1.0) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        own = Resource({"service.name": "llm-pool", "service.version": __version__})
        resource = own.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
        self._provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), resource=resource)
        self._provider.add_span_processor(processor)
        self._tracer: Tracer = self._provider.get_tracer("llm_pool", __version__)
        self._deduplicator = DecisionDeduplicator()

    @classmethod
    def to(cls, url: str, share: float) -> Tracing:
        """
        Spans to an OTLP collector at *url*, in batches, from a thread of its own; the rest is sent at exit.

        Raises:
            ConfigError: OpenTelemetry is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise ConfigError(
                path=None,
                key="telemetry.traces",
                got=url,
                want="the extra 'otel' to be installed",
                hint="pip install 'llm-pool[otel]'",
            ) from None
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint=url, timeout=EXPORT_TIME)), share)

    def on(self, event: Event) -> None:
        """Make the spans of a request that ended."""
        match event:
            case RequestAnswered(query=query, answer=answer):
                attempts = answer.decision.attempts if self._deduplicator.is_first(answer) else ()
                attributes = genai.of_query(query) | genai.of_answer(answer)
                self._request(query.task, answer.duration, attributes, attempts)
            case RequestFailed(query=query, error=error):
                attributes = genai.of_query(query) | {genai.ERROR: error_code(error)}
                self._request(query.task, event.duration, attributes, getattr(error, "attempts", ()))
            case _:
                pass

    def aclose(self) -> None:
        """Send what is left; may take ``EXPORT_TIME``."""
        self._provider.shutdown()

    def _request(self, task: str, duration: float, attributes: Mapping[str, Any], attempts: Sequence[Attempt]) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        end = time.time_ns()
        start = end - int(duration * NANO)
        span = self._tracer.start_span(
            f"infer {task}", _parent(), kind=SpanKind.SERVER, attributes=attributes, start_time=start
        )
        if span.is_recording():
            _set_status(span, attributes)
            parent = set_span_in_context(span)
            for attempt in attempts:
                self._attempt(attempt, parent, start)
        span.end(end)

    def _attempt(self, attempt: Attempt, parent: Context, request_start: int) -> None:
        from opentelemetry.trace import SpanKind

        start = request_start + int(attempt.started * NANO)
        attributes = genai.of_attempt(attempt)
        name = f"{genai.CHAT} {attempt.model}"
        span = self._tracer.start_span(name, parent, kind=SpanKind.CLIENT, attributes=attributes, start_time=start)
        _set_status(span, attributes)
        span.end(start + int(attempt.duration * NANO))


def _set_status(span: Any, attributes: Mapping[str, Any]) -> None:
    """An error is the span's status too."""
    from opentelemetry.trace import StatusCode

    if genai.ERROR in attributes:
        span.set_status(StatusCode.ERROR, attributes[genai.ERROR])


def _parent() -> Context | None:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    sent = _trace_context.get({})
    return TraceContextTextMapPropagator().extract(sent) if sent else None

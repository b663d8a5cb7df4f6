"""Traces to a collector by OTLP over HTTP, see `pipeline.tracing`. Imported only where they are switched on."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib import metadata

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from pipeline.tracing import ATTRIBUTES, Place, Span, Tracing, Value, root_id, step_id, trace_id

_CLOSE_S = 3.0
_VALUE_LENGTH_MAX = 100

Count = Callable[[str, int], None]
"""Told what became of spans: ended, sent, lost; and how many."""


class _Sent(SpanExporter):
    """The OTLP exporter, counted. One that cannot be reached costs its thread's time and the spans, nothing else."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        self._exporter = exporter
        self._count = count

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._count("sent" if result is SpanExportResult.SUCCESS else "lost", len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Counted(BatchSpanProcessor):
    """Those that ended and were neither sent nor lost fell out of a full queue, or wait in it."""

    def __init__(self, exporter: SpanExporter, count: Count) -> None:
        super().__init__(_Sent(exporter, count))
        self._count = count

    def on_end(self, span: ReadableSpan) -> None:
        self._count("ended", 1)
        super().on_end(span)


_wanted: ContextVar[tuple[int, int] | None] = ContextVar("ids", default=None)


class _Ids(IdGenerator):
    """Random, but for the spans that every process can name."""

    _random = RandomIdGenerator()

    def generate_span_id(self) -> int:
        wanted = _wanted.get()
        return wanted[1] if wanted else self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        wanted = _wanted.get()
        return wanted[0] if wanted else self._random.generate_trace_id()


@contextmanager
def _named(trace_number: int, span_number: int) -> Iterator[None]:
    token = _wanted.set((trace_number, span_number))
    try:
        yield
    finally:
        _wanted.reset(token)


class _Live(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(_allowed(attributes))
        if "error" in attributes:
            self._span.set_status(Status(StatusCode.ERROR))


class OtlpTracing(Tracing):
    """Spans by the OpenTelemetry SDK; its standard variables set sampler, limits, headers and the rest."""

    is_on = True

    def __init__(self, role: str, url: str, count: Count) -> None:
        endpoint = f"{url.rstrip('/')}/v1/traces" if url else None
        resource = Resource.create({
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "radmeter"),
            "service.version": metadata.version("radmeter"),
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            "radmeter.role": role,
        })  # fmt: skip
        self._provider = TracerProvider(resource=resource, id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(_Counted(OTLPSpanExporter(endpoint=endpoint), count))
        self._tracer = self._provider.get_tracer("radmeter")

    def step(self, place: Place, name: str, attempt: int) -> _Running:
        before = [Link(self._context(place, step_id(place, name, attempt - 1)))] if attempt else []
        attributes = _of(place) | {"radmeter.step": name, "radmeter.attempt": attempt}
        with _named(trace_id(place.study_id), step_id(place, name, attempt)):
            span = self._tracer.start_span(name, self._below(place), attributes=attributes, links=before)
        return _Running(span)

    def span(self, place: Place, name: str, **attributes: Value) -> _Running:
        return _Running(
            self._tracer.start_span(name, self._below(place), attributes=_of(place) | _allowed(attributes))
        )

    def part(self, name: str, **attributes: Value) -> AbstractContextManager[Span]:
        if not trace.get_current_span().get_span_context().is_valid:
            return super().part(name)
        return _Running(self._tracer.start_span(name, attributes=_allowed(attributes)))

    def note(self, place: Place, name: str, seconds: float, **attributes: Value) -> None:
        now = time.time_ns()
        began = now - max(0, round(seconds * 1e9))
        described = _of(place) | _allowed(attributes)
        self._tracer.start_span(name, self._below(place), attributes=described, start_time=began).end(now)

    def end(self, place: Place, seconds: float, **attributes: Value) -> None:
        now = time.time_ns()
        began = now - max(0, round(seconds * 1e9))
        is_root = place.revision in (None, 1)
        above = Context() if is_root else self._below(Place(place.tenant, place.study_id))
        with _named(trace_id(place.study_id), root_id(place.study_id, place.revision)):
            described = _of(place) | _allowed(attributes)
            span = self._tracer.start_span("study", above, attributes=described, start_time=began)
        if attributes.get("reason"):
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)

    def close(self) -> None:
        """A collector that is away holds up no drain."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)

    def _below(self, place: Place) -> Context:
        """As the parent: the span of the revision, which is sent when that ends."""
        parent = NonRecordingSpan(self._context(place, root_id(place.study_id, place.revision)))
        return trace.set_span_in_context(parent, Context())

    def _context(self, place: Place, span_number: int) -> SpanContext:
        """The sampler decides by the trace alone, so every process decides the same."""
        number = trace_id(place.study_id)
        decision = self._provider.sampler.should_sample(None, number, "study").decision
        flags = TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
        return SpanContext(number, span_number, is_remote=True, trace_flags=TraceFlags(flags))


class _Running:
    """A span that is the current one of its thread until it ends. What is raised shows as the name of its class."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._current = trace.use_span(span, record_exception=False, set_status_on_exception=False)

    def __enter__(self) -> Span:
        self._current.__enter__()
        return _Live(self._span)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            _Live(self._span).set(error=kind.__name__)
        self._current.__exit__(None, None, None)
        self._span.end()


def _of(place: Place) -> dict[str, Value]:
    revision: dict[str, Value] = {} if place.revision is None else {"radmeter.revision": place.revision}
    return {"radmeter.tenant": place.tenant, "radmeter.study": str(place.study_id)} | revision


def _allowed(attributes: Mapping[str, Value]) -> dict[str, Value]:
    return {
        f"radmeter.{name}": value[:_VALUE_LENGTH_MAX] if isinstance(value, str) else value
        for name, value in attributes.items()
        if name in ATTRIBUTES
    }


def current_ids() -> dict[str, str]:
    """For a log line: trace and span that run in this thread."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}

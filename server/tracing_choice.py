"""Whether traces are sent, by the setting and by OpenTelemetry's own variables."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pipeline.tracing import NO_TRACING, Tracing
from server.metrics import Metrics
from server.settings import Settings


def make_tracing(settings: Settings, role: str, metrics: Metrics) -> Tracing:
    """Where this process sends its spans. Without a collector the SDK is not even imported."""
    url = collector(settings, os.environ)
    if url is None:
        return NO_TRACING
    from server import telemetry
    from server.traces import OtlpTracing, current_ids

    telemetry.correlate = current_ids
    return OtlpTracing(role, url, lambda what, count: metrics.trace_spans.labels(what).inc(count))


def collector(settings: Settings, environment: Mapping[str, str]) -> str | None:
    """The collector's address, "" for the one of OpenTelemetry's variables, None where nothing is sent."""
    if settings.traces == "off" or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if settings.traces:
        return settings.traces
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    return "" if any(environment.get(name) for name in endpoints) else None

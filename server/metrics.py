"""The metrics of a process, and those of all processes of an installation. Patient data stays out of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values

from inference.engine import Engine

CIRCUIT_OPEN = "radmeter_inference_circuit_open"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def measured_in(folder: Path) -> Iterator[None]:
    """Keep the metrics of this process and of those that it starts in files there, so that one can show all of them.

    Afterwards this process keeps its own again: the folder may be gone then.
    """
    os.environ[METRICS_FOLDER] = str(folder)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        del os.environ[METRICS_FOLDER]
        values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def collected_metrics() -> CollectorRegistry:
    """A registry that sums the metrics of all processes of this installation.

    They meet in the folder of `measured_in`; without it a process shows nothing.
    """
    registry = CollectorRegistry()
    if METRICS_FOLDER in os.environ:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def open_circuits(registry: CollectorRegistry) -> list[str]:
    """The engines that a worker of this installation leaves alone now, because they failed."""
    samples = (sample for metric in registry.collect() for sample in metric.samples)
    return sorted({one.labels["engine"] for one in samples if one.name == CIRCUIT_OPEN and one.value})


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        build = Gauge(
            "radmeter_build_info", "1, with the version of the code that runs", ("version",),
            registry=self.registry, multiprocess_mode="livemax",
        )  # fmt: skip
        build.labels(metadata.version("radmeter")).set(1)
        self._receiving()
        self._steps()
        self._inference()

    def _receiving(self) -> None:
        self.instances = Counter(
            "radmeter_instances_total", "Instances received", ("outcome",), registry=self.registry
        )
        self.received_bytes = Counter(
            "radmeter_received_bytes_total", "Bytes of the instances received", registry=self.registry
        )
        self.record_seconds = Histogram(
            "radmeter_record_seconds", "Until the row of a received instance was committed",
            registry=self.registry, buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
        )  # fmt: skip
        self.associations_open = Gauge(
            "radmeter_associations_open", "Associations and receiving requests of the web that are open",
            registry=self.registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.associations = Counter(
            "radmeter_associations_total", "Associations that were accepted, by how they ended", ("end",),
            registry=self.registry,
        )  # fmt: skip
        self.associations_refused = Counter(
            "radmeter_associations_refused_total",
            "Connections without a regular end: rejected, aborted by us, or without a TLS handshake",
            ("how", "reason"), registry=self.registry,
        )  # fmt: skip
        self.requests_refused = Counter(
            "radmeter_requests_refused_total", "DIMSE requests that were refused, by status (A700H: try again later)",
            ("request", "status"), registry=self.registry,
        )  # fmt: skip
        self.alerts = Counter(
            "radmeter_security_alerts_total", "What peers tried and were denied", ("kind",), registry=self.registry
        )  # fmt: skip

    def _steps(self) -> None:
        self.assemble_wait_seconds = Histogram(
            "radmeter_assemble_wait_seconds", "From the last instance to the end of an arrival", ("outcome",),
            registry=self.registry, buckets=(1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 3600),
        )  # fmt: skip
        self.step_seconds = Histogram(
            "radmeter_step_seconds", "Duration of the steps of a study's path", ("step", "gives"),
            registry=self.registry, buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
        )  # fmt: skip
        self.study_seconds = Histogram(
            "radmeter_study_seconds", "From a study's last instance to the end of its path", ("priority", "outcome"),
            registry=self.registry, buckets=(5, 10, 20, 30, 45, 60, 90, 120, 300, 600, 900, 1800, 3600, 14400),
        )  # fmt: skip
        self.studies_ended = Counter(
            "radmeter_studies_ended_total", "Studies at their end, with the code of the reason where it is a bad one",
            ("outcome", "reason"), registry=self.registry,
        )  # fmt: skip
        self.rule_studies = Counter(
            "radmeter_rule_studies_total", "Studies for which a routing rule chose a model",
            ("rule",), registry=self.registry,
        )  # fmt: skip
        self.delivery_attempts = Counter(
            "radmeter_delivery_attempts_total", "Result objects sent or tried to send, by the state that followed",
            ("kind", "state"), registry=self.registry,
        )  # fmt: skip
        self.delivery_seconds = Histogram(
            "radmeter_delivery_seconds", "From the start of a delivery's job to the answer about an object", ("kind",),
            registry=self.registry, buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
        )  # fmt: skip
        self.usage_events = Counter(
            "radmeter_usage_events_total", "Usage events of studies, by what billing decided",
            ("kind", "decision", "reason"), registry=self.registry,
        )  # fmt: skip
        self.jobs_disturbed = Counter(
            "radmeter_jobs_disturbed_total", "Jobs that were retried, failed for good, or freed from a dead worker",
            ("task", "what"), registry=self.registry,
        )  # fmt: skip

        self.trace_spans = Counter(
            "radmeter_trace_spans_total", "Spans that ended, were sent to the collector, or were lost on the way",
            ("what",), registry=self.registry,
        )  # fmt: skip

    def _inference(self) -> None:
        self.inference_seconds = Histogram(
            "radmeter_inference_seconds", "Duration of one attempt to run a model's graph", ("engine", "outcome"),
            registry=self.registry, buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
        )  # fmt: skip
        self.inference_events = Counter(
            "radmeter_inference_events_total",
            "What happened around runs of models: retried, fell_back, circuit_opened, circuit_closed",
            ("engine", "event"),
            registry=self.registry,
        )
        self.circuit_open = Gauge(
            CIRCUIT_OPEN, "1 while an engine that failed several times is left alone", ("engine",),
            registry=self.registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self.run_seconds = Histogram(
            "radmeter_inference_run_seconds", "Duration of runs of a model's graph", ("model",),
            registry=self.registry, buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )  # fmt: skip
        self.run_wait_seconds = Histogram(
            "radmeter_inference_wait_seconds", "How long runs waited for the device", ("model",),
            registry=self.registry, buckets=(0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
        )  # fmt: skip
        self.run_inputs = Counter(
            "radmeter_inference_inputs_total", "Inputs given to runs; divided by the runs: how many were stacked",
            ("model",), registry=self.registry,
        )  # fmt: skip

        self.object_seconds = Histogram(
            "radmeter_object_store_seconds", "Duration of transfers to and from the object store",
            ("operation", "outcome"), registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )  # fmt: skip

    def ran(self, engine: Engine, outcome: str, duration_s: float) -> None:
        """One attempt to run a model; with `happened` this is `inference.resilient.Observer`."""
        self.inference_seconds.labels(str(engine), outcome).observe(duration_s)

    def happened(self, engine: Engine, event: str) -> None:
        self.inference_events.labels(str(engine), event).inc()
        if event in ("circuit_opened", "circuit_closed"):
            self.circuit_open.labels(str(engine)).set(event == "circuit_opened")

    def observe_run(self, model: str, waited_s: float, ran_s: float, stacked: int) -> None:
        """One request's run; of a run that several share, each tells its part."""
        self.run_wait_seconds.labels(model).observe(waited_s)
        self.run_seconds.labels(model).observe(ran_s / stacked)
        self.run_inputs.labels(model).inc()

    def observe_object(self, operation: str, outcome: str, duration_s: float) -> None:
        """One transfer: put or get."""
        self.object_seconds.labels(operation, outcome).observe(duration_s)

"""The metrics of a process, and those of all processes of an installation. Patient data stays out of them."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values

from dicom_gateway.instance_sink import RecordOutcome
from dicom_gateway.security_alert import SecurityAlert
from inference.engine import Engine

CIRCUIT_OPEN = "radmeter_inference_circuit_open"
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def measure_in(folder: Path) -> None:
    """Keep the metrics of this process and of those that it starts in files there, so that one can show all of them."""
    os.environ[METRICS_FOLDER] = str(folder)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def collected_metrics() -> CollectorRegistry:
    """A registry that sums the metrics of all processes of this installation.

    They meet in the folder of `measure_in`; without it a process shows nothing.
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
        self.step_seconds = Histogram(
            "radmeter_step_seconds", "Duration of the steps of a study's path", ("step", "gives"),
            registry=self.registry, buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
        )  # fmt: skip
        self.instances = Counter(
            "radmeter_instances_total", "Instances received", ("outcome",), registry=self.registry
        )
        self.alerts = Counter(
            "radmeter_security_alerts_total",
            "What peers tried and were denied",
            ("kind",),
            registry=self.registry,
        )

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

    def observe_alert(self, alert: SecurityAlert) -> None:
        self.alerts.labels(alert.kind).inc()

    def observe_instance(self, outcome: RecordOutcome) -> None:
        self.instances.labels(outcome.value).inc()

    def observe_object(self, operation: str, outcome: str, duration_s: float) -> None:
        """One transfer: put or get."""
        self.object_seconds.labels(operation, outcome).observe(duration_s)

    def observe_step(self, step: str, gives: str, duration_s: float) -> None:
        self.step_seconds.labels(step, gives).observe(duration_s)

"""The watch over a Triton server: a role of `radmeter serve`, what it last found, and `radmeter triton check`."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge

from inference.choose import make_triton_endpoint
from inference.errors import InferenceError
from inference.triton_client import TritonAddress
from models.errors import ModelError
from server.health_port import health_port
from server.metrics import collected_metrics
from server.settings import Settings

if TYPE_CHECKING:  # the portal asks for the last problem, and has no use for the memory of models
    from inference.triton_supervisor import Health, LocalServer, TritonSupervisor
    from models.model import Model

log = logging.getLogger("radmeter.server")

# A watch that says nothing for this long, beside its own pause, has ended or hangs. It covers a model that is loaded.
_SILENT_AFTER_S = 300.0


class TritonMetrics:
    """What the watch measures."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.serves = Gauge(
            "radmeter_triton_model_serves", "1 while a model on Triton answers its canary as it should", ("model",),
            registry=registry, multiprocess_mode="mostrecent",
        )  # fmt: skip
        self.canary_seconds = Gauge(
            "radmeter_triton_canary_seconds", "How long the last canary took", ("model",),
            registry=registry, multiprocess_mode="mostrecent",
        )  # fmt: skip
        self.repairs = Counter(
            "radmeter_triton_repairs_total",
            "How often Triton was started or a model loaded again",
            registry=registry,
        )
        self._repairs_seen = 0

    def observe(self, health: Health) -> None:
        for model, problem in health.models.items():
            self.serves.labels(model).set(0 if problem else 1)
            self.canary_seconds.labels(model).set(health.canary_s[model])
        self.repairs.inc(health.repairs - self._repairs_seen)
        self._repairs_seen = health.repairs


def run_triton(settings: Settings) -> None:
    """Watch until SIGTERM; with RADMETER_TRITON_SERVER also start and end the server."""
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    settings.triton_directory.mkdir(parents=True, exist_ok=True)
    metrics = TritonMetrics()

    def report(health: Health) -> None:
        metrics.observe(health)
        _write(_state_path(settings), {"at": time.time(), "problem": health.problem})

    log.info("triton_watch_started")
    checks = {
        "watch": lambda: "it is ending" if stop.is_set() else None,
        "triton": lambda: last_problem(settings),
    }
    with health_port(settings, checks, collected_metrics()):
        supervisor(settings).run(stop, settings.triton_canary_s, report)


def supervisor(settings: Settings) -> TritonSupervisor:
    """The watch as the settings want it."""
    from inference.triton_supervisor import TritonSupervisor

    endpoint = make_triton_endpoint(settings.engine_choice)
    local = _local_server(settings) if settings.triton_server else None
    return TritonSupervisor(endpoint, models_of(settings), local)


def last_problem(settings: Settings) -> str | None:
    """What the watch found last, or that nobody watches."""
    try:
        state = json.loads(_state_path(settings).read_text("utf-8"))
        age_s, problem = time.time() - float(state["at"]), state["problem"]
    except (OSError, ValueError, KeyError, TypeError):
        return "nobody watches Triton: is `radmeter serve --role triton` running?"
    if age_s > _SILENT_AFTER_S + settings.triton_canary_s:
        return f"the watch over Triton has said nothing for {age_s:.0f} s"
    return str(problem) if problem else None


def check(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Each model with what is wrong with it on the server, None where it answers as it should."""
    from inference.triton_canary import Canary
    from inference.triton_repository import served_name

    endpoint = make_triton_endpoint(settings.engine_choice)
    try:
        for model in models_of(settings)():
            problem = None
            try:
                Canary(model).ask(endpoint.run)
            except (InferenceError, ModelError) as error:
                problem = str(error)
            yield served_name(model.manifest), problem
    finally:
        endpoint.close()


def _local_server(settings: Settings) -> LocalServer:
    from inference.triton_repository import RepositoryForm
    from inference.triton_server import TritonServer
    from inference.triton_supervisor import LocalServer

    address = TritonAddress.parse(settings.triton_url)
    place, folder = Path(settings.triton_server).expanduser(), settings.triton_directory
    server = TritonServer(
        place,
        folder,
        folder / "repository",
        host=address.host,
        port=address.port,
        metrics_port=address.port + 1,
    )
    # NVIDIA's own program brings the backend for ONNX; the wheel has none but Python's.
    form = RepositoryForm(
        backend="python" if server.is_from_wheel else "onnxruntime",
        accelerator="" if settings.inference_provider == "cpu" else settings.inference_provider,
        options={"precision_mode": "FP16"} if settings.inference_precision == "fp16" else {},
        threads=settings.inference_threads,
    )
    return LocalServer(server, folder / "repository", form)


def models_of(settings: Settings) -> Callable[[], list[Model]]:
    """Asked again and again: every version of every model that is there now; one that cannot be read hides no other."""
    from models.errors import ModelError
    from models.registry import find_models, get_model

    def found() -> list[Model]:
        models = []
        for manifest in find_models(settings.data_directory).models:
            try:
                models.append(get_model(f"{manifest.name}@{manifest.version}", settings.data_directory))
            except ModelError as error:  # of a family that this release does not know
                log.error("triton_model_unknown", extra={"model": manifest.name, "reason": error})
        return models

    return found


def _state_path(settings: Settings) -> Path:
    return settings.triton_directory / "health.json"


def _write(path: Path, state: dict[str, object]) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(state, ensure_ascii=False), "utf-8")
    os.replace(draft, path)

"""Builds everything from the settings; the only module that knows everyone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import procrastinate
from prometheus_client import CollectorRegistry

from inference.choose import make_endpoint
from pipeline import readiness
from pipeline.ask_counts import defer_count
from pipeline.confirm_delivery import PAUSES_S
from pipeline.find_priors import defer_priors
from pipeline.jobs import DELIVERIES_AT_ONCE
from pipeline.queue import defer_confirmation, defer_delivery, defer_step
from pipeline.services import Services
from pipeline.tracing import NO_TRACING, Tracing
from server.common_wiring import inference_problem, mail_server
from server.metrics import Metrics
from server.object_store import object_store_checks, objects
from server.places import database, folders
from server.receive_metrics import ReceiveMetrics
from server.settings import Settings
from server.step_metrics import StepMetrics

if TYPE_CHECKING:
    from inference.scheduler import Scheduler


def scheduler(settings: Settings, metrics: Metrics) -> Scheduler:
    """What runs a worker's models."""
    # Not at the top: gateway and portal have no use for the memory of models.
    from inference.scheduler import Scheduler

    return Scheduler(
        make_endpoint(settings.engine_choice, metrics),
        runs_at_once=settings.inference_runs_at_once,
        memory_bytes_max=settings.inference_run_memory_mib << 20,
        observe=metrics.observe_run,
    )


def services(
    settings: Settings,
    metrics: Metrics,
    app: procrastinate.App,
    scheduler: Scheduler,
    tracing: Tracing = NO_TRACING,
) -> Services:
    """What a worker's steps use."""
    from models.registry import get_model

    return Services(
        # A delivery holds one connection while it sends and needs another to store each answer.
        database=database(
            settings,
            pool_size_max=settings.worker_concurrency + 2 * DELIVERIES_AT_ONCE + 2,
            let_go_after_s=settings.takeover_s,
        ),
        folders=folders(settings, metrics),
        scheduler=scheduler,
        get_model=functools.partial(get_model, data_directory=settings.data_directory),
        defer_step=functools.partial(defer_step, app),
        defer_step_later=functools.partial(defer_step, app),
        ask_counts=functools.partial(defer_count, app, delay_s=0.0),
        defer_priors=functools.partial(defer_priors, app),
        defer_delivery=functools.partial(defer_delivery, app),
        defer_confirmation=functools.partial(defer_confirmation, app, pauses_s=PAUSES_S),
        observer=StepMetrics(metrics),
        receive_observer=ReceiveMetrics(metrics),
        tracing=tracing,
        time_zone=settings.time_zone,
        portal_url=settings.portal_url.rstrip("/"),
        mail=mail_server(settings),
    )


def worker_readiness(
    settings: Settings, registry: CollectorRegistry, is_draining: threading.Event
) -> dict[str, Callable[[], str | None]]:
    """What has to be right before a worker counts as one, each by its name."""
    pool = database(settings, pool_size_max=1) if settings.health_port else None
    if pool is None:
        return {}
    return {
        "worker": lambda: "it is draining: it takes no more steps" if is_draining.is_set() else None,
        "database": lambda: readiness.database_problem(pool),
        "migrations": lambda: readiness.migrations_problem(settings.database_url),
        "queue": lambda: readiness.queue_problem(pool),
        "data_folder": lambda: readiness.folder_problem(settings.data_directory),
        "inference": lambda: inference_problem(settings, registry),
        **object_store_checks(objects(settings)),
    }

"""Builds everything from the settings; the only module that knows everyone."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

import procrastinate
from prometheus_client import CollectorRegistry

from inference.choose import engine_problem, make_endpoint
from pipeline import readiness
from pipeline.ask_counts import defer_count
from pipeline.confirm_delivery import PAUSES_S
from pipeline.errors import MailServerInvalid
from pipeline.find_priors import defer_priors
from pipeline.jobs import DELIVERIES_AT_ONCE
from pipeline.queue import defer_confirmation, defer_delivery, defer_step
from pipeline.services import Services
from pipeline.tracing import NO_TRACING, Tracing
from pipeline.ways_out.send_mail import MailServer
from server.errors import SettingInvalid
from server.metrics import Metrics, open_circuits
from server.object_store import object_store_checks, objects
from server.places import database, folders
from server.settings import Settings
from server.step_metrics import StepMetrics


def mail_server(settings: Settings) -> MailServer | None:
    """Who takes our mails, None where nobody does. Raises `SettingInvalid`."""
    if not settings.smtp_url:
        return None
    try:
        return MailServer(settings.smtp_url, settings.smtp_from, settings.smtp_password)
    except MailServerInvalid as error:
        raise SettingInvalid("smtp_url", settings.smtp_url, str(error)) from None


def services(
    settings: Settings, metrics: Metrics, app: procrastinate.App, tracing: Tracing = NO_TRACING
) -> Services:
    """What a worker's steps use."""
    # Not at the top: gateway and portal have no use for the memory of models.
    from inference.scheduler import Scheduler
    from models.registry import get_model

    return Services(
        # A delivery holds one connection while it sends and needs another to store each answer.
        database=database(
            settings,
            pool_size_max=settings.worker_concurrency + 2 * DELIVERIES_AT_ONCE + 2,
            let_go_after_s=settings.takeover_s,
        ),
        folders=folders(settings, metrics),
        scheduler=Scheduler(
            make_endpoint(settings.engine_choice, metrics),
            runs_at_once=settings.inference_runs_at_once,
            memory_bytes_max=settings.inference_run_memory_mib << 20,
            observe=metrics.observe_run,
        ),
        get_model=functools.partial(get_model, data_directory=settings.data_directory),
        defer_step=functools.partial(defer_step, app),
        defer_step_later=functools.partial(defer_step, app),
        ask_counts=functools.partial(defer_count, app, delay_s=0.0),
        defer_priors=functools.partial(defer_priors, app),
        defer_delivery=functools.partial(defer_delivery, app),
        defer_confirmation=functools.partial(defer_confirmation, app, pauses_s=PAUSES_S),
        observer=StepMetrics(metrics),
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


def inference_problem(settings: Settings, registry: CollectorRegistry) -> str | None:
    """Why models do not run now, as far as it is known without running one; None when nothing is known against it."""
    problem = engine_problem(settings.engine_choice)
    failing = open_circuits(registry)
    if problem is None and failing:
        return (
            f"{' and '.join(failing)} failed several times: the log lines “inference_circuit_opened” say how"
        )
    return problem

"""Builds everything from the settings; the only module that knows everyone."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import procrastinate
from prometheus_client import CollectorRegistry

from billing.outcomes import settle_every_tenant
from billing.rails.run import run_rails
from inference.choose import engine_problem, make_endpoint
from pipeline import readiness, unbilled, work_list
from pipeline.ask_counts import defer_count
from pipeline.audit_message import AuditSource
from pipeline.audit_syslog import SyslogServer, send_round
from pipeline.confirm_delivery import PAUSES_S
from pipeline.errors import AuditServerInvalid, MailServerInvalid
from pipeline.find_priors import defer_priors
from pipeline.jobs import DELIVERIES_AT_ONCE
from pipeline.limit_gate import tenants as every_tenant
from pipeline.queue import defer_confirmation, defer_delivery, defer_step
from pipeline.retention_run import run_retention, sweep_work
from pipeline.scrub import Pace, scrub
from pipeline.services import Services
from pipeline.tracing import NO_TRACING, Tracing
from pipeline.ways_out.send_mail import MailServer
from server.errors import SettingInvalid
from server.metrics import Metrics, open_circuits
from server.object_store import object_store_checks, objects
from server.places import database, folders
from server.settings import Settings
from server.step_metrics import StepMetrics

SETTLE_EVERY = timedelta(hours=1)
_SCRUB_BYTES_S = 20e6


def billing_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for billing: the rails, see `billing.rails.run`; each hour, windows that passed
    without a verdict."""
    pool = database(settings, pool_size_max=4)
    settled_at = datetime.min.replace(tzinfo=UTC)

    def look_after() -> None:
        nonlocal settled_at
        run_rails(pool.transaction, stripe_api_key=settings.stripe_api_key, clock=pool.now)
        now = pool.now()
        if now - settled_at >= SETTLE_EVERY:
            settled_at = now
            settle_every_tenant(pool.transaction, now=settled_at)

    return look_after


def unbilled_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for the metrics of money, see `pipeline.unbilled`."""
    pool = database(settings, pool_size_max=1)
    return lambda: unbilled.figure_every_tenant(pool, lambda: datetime.now(UTC))


def mail_server(settings: Settings) -> MailServer | None:
    """Who takes our mails, None where nobody does. Raises `SettingInvalid`."""
    if not settings.smtp_url:
        return None
    try:
        return MailServer(settings.smtp_url, settings.smtp_from, settings.smtp_password)
    except MailServerInvalid as error:
        raise SettingInvalid("smtp_url", settings.smtp_url, str(error)) from None


def audit_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for the audit trail, see `pipeline.audit_syslog`. Raises `SettingInvalid`.

    Whom TLS trusts and our own certificate with its key lie in the folder of secrets, where there are any.
    """
    if not settings.audit_syslog:
        return lambda: None
    names = ("audit-authority.pem", "audit-certificate.pem")
    files = (path if (path := settings.secrets_directory / name).exists() else None for name in names)
    try:
        server = SyslogServer(settings.audit_syslog, *files)
    except AuditServerInvalid as error:
        raise SettingInvalid("audit_syslog", settings.audit_syslog, str(error)) from None
    pool = database(settings, pool_size_max=2)
    return lambda: send_round(pool, server, AuditSource(), host=socket.gethostname())


def heartbeat_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for the heartbeat, see `server.heartbeat`."""
    if settings.heartbeat_minutes == 0:
        return lambda: None
    from server.heartbeat import look_after  # not at the top: nobody else makes studies up

    pool = database(settings, pool_size_max=1)
    return lambda: look_after(pool, settings)


def retention_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute with what is stored, see `pipeline.retention_run` and `pipeline.scrub`."""
    pool = database(settings, pool_size_max=3)
    made = folders(settings)

    def look_after() -> None:
        for tenant in every_tenant(pool):
            run_retention(pool, made, tenant, now=datetime.now(UTC))
            sweep_work(pool, made, tenant, now=datetime.now(UTC))
            pace = Pace(_SCRUB_BYTES_S, settings.scrub_mib_per_minute << 20)
            if settings.scrub_mib_per_minute:
                scrub(pool, made, tenant, pace, now=datetime.now(UTC))

    return look_after


def work_list_round(settings: Settings) -> Callable[[], object]:
    """What a worker does each minute for the work list, see `pipeline.work_list.look_after`."""
    pool = database(settings, pool_size_max=1)
    return lambda: work_list.look_after(pool, now=pool.now())


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

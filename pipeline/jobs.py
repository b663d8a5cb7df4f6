"""The procrastinate app: one task that takes a study's next step, one that assembles, one that frees stalled jobs."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import procrastinate
from procrastinate import BaseRetryStrategy, JobContext, PsycopgConnector, SyncPsycopgConnector

from pipeline import retry
from pipeline.assemble_study import assemble_study
from pipeline.database import APP_ROLE, Connection
from pipeline.services import Services
from pipeline.store import StudyRecord
from pipeline.study_path import take_step

log = logging.getLogger("radmeter.jobs")

QUEUE = "studies"
HEARTBEAT_S = 2.0
STALLED_AFTER_S = 10.0
_CONNECTION = {"options": f"-c role={APP_ROLE}", "application_name": "radmeter-queue"}


def defer_step(app: procrastinate.App, conn: Connection, study: StudyRecord) -> None:
    """Put the study's next step into the queue, in the caller's transaction."""
    app.configure_task("take_step", queue=QUEUE, lock=str(study.id), connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), revision=study.revision
    )


def defer_assembly(
    app: procrastinate.App, conn: Connection, tenant: str, arrival_id: int, delay_s: float
) -> None:
    """Look after `delay_s` whether the arrival has fallen silent, in the caller's transaction."""
    at = datetime.now(UTC) + timedelta(seconds=delay_s)
    app.configure_task("assemble", queue=QUEUE, schedule_at=at, connection=conn).defer(
        tenant=tenant, arrival_id=arrival_id
    )


def deferring_app(database_url: str) -> procrastinate.App:
    """An app for processes that only put jobs into the queue (gateway, portal)."""
    app = procrastinate.App(
        connector=SyncPsycopgConnector(conninfo=database_url, kwargs=_CONNECTION, min_size=0, max_size=1)
    )
    app.open()
    return app


class _Retry(BaseRetryStrategy):
    """Asks `retry.decide`."""

    def get_retry_decision(
        self, *, exception: BaseException, job: procrastinate.jobs.Job
    ) -> procrastinate.RetryDecision | None:
        decision = retry.decide(exception, job.attempts)
        return (
            procrastinate.RetryDecision(retry_in={"seconds": round(decision.delay_s)}) if decision else None
        )


def worker_app(database_url: str, services_of: Any) -> procrastinate.App:
    """The app of a worker. `services_of(app)` builds the Services that its tasks use."""
    app = procrastinate.App(
        connector=PsycopgConnector(conninfo=database_url, kwargs=_CONNECTION, min_size=1, max_size=4)
    )
    services: Services = services_of(app)

    @app.task(name="take_step", queue=QUEUE, retry=_Retry(), pass_context=True)
    def _take_step(context: JobContext, tenant: str, study_id: str, revision: int) -> None:
        take_step(services, tenant, study_id, revision, attempts=context.job.attempts)

    @app.task(name="assemble", queue=QUEUE, retry=_Retry())
    def _assemble(tenant: str, arrival_id: int) -> None:
        assemble_study(
            services,
            tenant,
            arrival_id,
            defer_again=lambda conn, delay_s: defer_assembly(app, conn, tenant, arrival_id, delay_s),
        )

    return app


async def run_worker(app: procrastinate.App, *, concurrency: int, drain_s: float) -> None:
    """Work until SIGTERM; a step that is not done within `drain_s` is left to another worker."""
    async with app.open_async():
        sweeper = asyncio.create_task(_free_stalled_jobs(app))
        try:
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=concurrency,
                fetch_job_polling_interval=0.5,
                update_heartbeat_interval=HEARTBEAT_S,
                stalled_worker_timeout=STALLED_AFTER_S,
                shutdown_graceful_timeout=drain_s,
                delete_jobs="successful",
            )
        finally:
            sweeper.cancel()


async def _free_stalled_jobs(app: procrastinate.App) -> None:
    """Give the jobs of workers that have died back to the queue."""
    while True:
        try:
            stalled = await app.job_manager.get_stalled_jobs(
                queue=QUEUE, seconds_since_heartbeat=STALLED_AFTER_S
            )
            for job in stalled:
                if job.id is not None:
                    log.warning("job_of_a_dead_worker_freed", extra={"job": job.id})
                    await app.job_manager.retry_job_by_id_async(job.id, retry_at=datetime.now(UTC))
        except procrastinate.exceptions.ConnectorException:
            log.exception("stalled_jobs_not_checked")
        await asyncio.sleep(STALLED_AFTER_S / 2)

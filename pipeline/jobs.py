"""The procrastinate app: one task that takes a study's next step, one that assembles, one that frees stalled jobs."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import procrastinate
from procrastinate import BaseRetryStrategy, JobContext, PsycopgConnector

from pipeline import heartbeat, limit_gate, nodes, report_commitment, retry
from pipeline.ask_counts import ask_counts
from pipeline.assemble_study import assemble_study
from pipeline.confirm_delivery import confirm_delivery
from pipeline.deliver_to import deliver_to
from pipeline.errors import QueueLost
from pipeline.fetch_prior import fetch_prior
from pipeline.find_priors import find_priors
from pipeline.health_round import look_at_models
from pipeline.job_fence import FencedJobs
from pipeline.perform_workitem import perform_workitem
from pipeline.queue import (
    ARCHIVE_QUEUE,
    CONNECTION,
    DELIVERY_QUEUE,
    QUEUE,
    defer_assembly,
    deferring_app,
)
from pipeline.receive import DatabaseSink
from pipeline.reissue import reissue
from pipeline.services import Observer, Services
from pipeline.study_path import take_step
from pipeline.work_sources import look_for_work

log = logging.getLogger("radmeter.jobs")

# Signs of life within the time after which a worker counts as gone.
_HEARTBEATS = 5
_ARCHIVE_CONCURRENCY = 2
# What it takes at most to break a run off and to give its step back.
_GIVE_BACK_S = 5.0
# How soon a study goes on that a limit held back, and how soon a threshold is told: every fifteen seconds.
_LIMITS_CRON = "* * * * * */15"
# Worklists of other systems: looked at, and told how far what we claimed is, every ten seconds.
_WORK_CRON = "* * * * * */10"
# The models' figures of the day so far, and what rules say of them: each hour.
_HEALTH_CRON = "7 * * * *"
# Destinations that are sent to at the same time; each waits for the network, not for the processor.
DELIVERIES_AT_ONCE = 8


@dataclasses.dataclass
class _Retry(BaseRetryStrategy):
    """Asks `retry.decide`."""

    observer: Observer

    def get_retry_decision(
        self, *, exception: BaseException, job: procrastinate.jobs.Job
    ) -> procrastinate.RetryDecision | None:
        decision = retry.decide(exception, job.attempts)
        event = "job_will_be_tried_again" if decision else "job_failed"
        log.error(event, extra={"job": job.id, "error": type(exception).__name__}, exc_info=exception)
        self.observer.job_disturbed(job.task_name, "retried" if decision else "failed")
        return (
            procrastinate.RetryDecision(retry_in={"seconds": round(decision.delay_s)}) if decision else None
        )


@dataclasses.dataclass
class _RetryForever(BaseRetryStrategy):
    """For jobs that keep their own count and raise only what is wrong on our side, a database that is away say."""

    observer: Observer

    def get_retry_decision(
        self, *, exception: BaseException, job: procrastinate.jobs.Job
    ) -> procrastinate.RetryDecision | None:
        extra = {"job": job.id, "error": type(exception).__name__}
        log.error("job_will_be_tried_again", extra=extra, exc_info=exception)
        self.observer.job_disturbed(job.task_name, "retried")
        return procrastinate.RetryDecision(retry_in={"seconds": round(retry.back_off_s(job.attempts, 2, 60))})


def worker_app(database_url: str, services_of: Any) -> procrastinate.App:
    """The app of a worker. `services_of(queue)` builds the Services that its tasks use."""
    app = procrastinate.App(
        connector=PsycopgConnector(conninfo=database_url, kwargs=CONNECTION, min_size=1, max_size=8)
    )
    app.job_manager = FencedJobs(app.connector)
    # Steps run in threads and put the next job into their own transaction, which wants the synchronous connector.
    queue = deferring_app(database_url)
    services: Services = services_of(queue)
    observer, node = services.receive_observer, nodes.name_of("worker")
    fetched = DatabaseSink(services.database, queue, observer, services.tracing, node)
    once_more, for_ever = _Retry(services.observer), _RetryForever(services.observer)

    @app.task(name="take_step", queue=QUEUE, retry=once_more, pass_context=True)
    def _take_step(context: JobContext, tenant: str, study_id: str, revision: int) -> None:
        take_step(services, tenant, study_id, revision, attempts=context.job.attempts)

    @app.task(name="reissue", queue=QUEUE, retry=once_more)
    def _reissue(tenant: str, study_id: str, revision: int, product: str, review: int) -> None:
        reissue(services, tenant, study_id, revision, product, review)

    @app.task(name="deliver", queue=DELIVERY_QUEUE, retry=for_ever)
    def _deliver(tenant: str, study_id: str, destination: str) -> None:
        deliver_to(services, tenant, study_id, destination)

    @app.task(name="confirm", queue=ARCHIVE_QUEUE, retry=for_ever)
    def _confirm(tenant: str, study_id: str, destination: str, attempt: int) -> None:
        confirm_delivery(services, tenant, study_id, destination, attempt)

    @app.task(name="assemble", queue=QUEUE, retry=once_more)
    def _assemble(tenant: str, arrival_id: int) -> None:
        assemble_study(
            services,
            tenant,
            arrival_id,
            defer_again=lambda conn, delay_s: defer_assembly(queue, conn, tenant, arrival_id, delay_s),
        )

    @app.task(name="ask_counts", queue=ARCHIVE_QUEUE, retry=once_more)
    def _ask_counts(tenant: str, study_id: str, attempt: int) -> None:
        ask_counts(services.database, queue, tenant, study_id, attempt)

    @app.task(name="find_priors", queue=ARCHIVE_QUEUE, retry=once_more)
    def _find_priors(tenant: str, study_id: str, priors: dict[str, Any], attempt: int) -> None:
        find_priors(services.database, queue, tenant, study_id, priors, attempt)

    @app.task(name="fetch_prior", queue=ARCHIVE_QUEUE, retry=once_more)
    def _fetch_prior(tenant: str, study_id: str, prior_uid: str, images_max: int, attempt: int) -> None:
        fetch_prior(
            services.database,
            queue,
            services.folders,
            tenant,
            study_id,
            prior_uid,
            images_max,
            attempt,
            sink=fetched,
        )

    @app.task(name="perform_workitem", queue=ARCHIVE_QUEUE, retry=once_more, pass_context=True)
    def _perform_workitem(context: JobContext, tenant: str, uid: str, attempt: int) -> None:
        tries = context.job.attempts
        perform_workitem(
            services.database, queue, services.folders, tenant, uid, attempt, sink=fetched, tries=tries
        )

    @app.periodic(cron=_WORK_CRON)
    @app.task(name="look_for_work", queue=ARCHIVE_QUEUE, queueing_lock="look_for_work")
    def _look_for_work(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        for tenant in limit_gate.tenants(services.database):
            look_for_work(services.database, queue, services.folders.secrets, tenant)

    @app.periodic(cron=_LIMITS_CRON)
    @app.task(name="look_at_limits", queue=ARCHIVE_QUEUE, queueing_lock="look_at_limits")
    def _look_at_limits(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        for tenant in limit_gate.tenants(services.database):
            limit_gate.look_at_limits(services.database, queue, tenant, now=services.database.now())

    @app.periodic(cron=_HEALTH_CRON)
    @app.task(name="look_at_models", queue=ARCHIVE_QUEUE, queueing_lock="look_at_models")
    def _look_at_models(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        for tenant in limit_gate.tenants(services.database):
            if tenant == heartbeat.TENANT:
                continue  # made-up studies say nothing about a model's patients
            look_at_models(services.database, tenant, now=services.database.now())

    @app.task(name="report_commitment", queue=ARCHIVE_QUEUE, retry=once_more)
    def _report_commitment(tenant: str, ae_title: str, transaction_uid: str) -> None:
        report_commitment.report(services, tenant, ae_title, transaction_uid)

    return app


async def run_worker(
    app: procrastinate.App,
    *,
    concurrency: int,
    drain_s: float,
    takeover_s: float,
    each_minute: Sequence[Callable[[], object]] = (),
    on_stop: Callable[[], None] = lambda: None,
    break_off: Callable[[], None] = lambda: None,
) -> None:
    """Work until SIGTERM; a step that is not done within `drain_s` is left to another worker.

    takeover_s: without a sign of life a worker counts as gone, and its jobs are given to others.
    each_minute: what is looked after beside the queues, each by itself, several workers at once or not.
    on_stop: told when the drain begins. break_off: ends the models' runs, called shortly before the drain is over, so
    that their steps are given back instead of being missed.
    Raises `QueueLost` when the queues cannot be read any more: another process has to begin anew.
    """
    loop = asyncio.get_running_loop()
    # A thread for each job that runs at a time, and for each look: Python's default is fewer on a small machine.
    thread_count = concurrency + DELIVERIES_AT_ONCE + _ARCHIVE_CONCURRENCY + len(each_minute) + 2
    loop.set_default_executor(ThreadPoolExecutor(thread_count))
    async with app.open_async():
        beside = (
            asyncio.create_task(_free_stalled_jobs(app, takeover_s)),
            *(asyncio.create_task(_look_each_minute(work)) for work in each_minute),
        )
        workers = [
            asyncio.create_task(_work_on(app, QUEUE, concurrency, drain_s, takeover_s)),
            asyncio.create_task(_work_on(app, ARCHIVE_QUEUE, _ARCHIVE_CONCURRENCY, drain_s, takeover_s)),
            asyncio.create_task(_work_on(app, DELIVERY_QUEUE, DELIVERIES_AT_ONCE, drain_s, takeover_s)),
        ]

        is_told = asyncio.Event()

        def stop() -> None:
            """Every queue drains at once: cancelled, each finishes what it has and takes nothing new."""
            is_told.set()
            on_stop()
            loop.call_later(max(drain_s / 2, drain_s - _GIVE_BACK_S), break_off)
            for task in workers:
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*beside, *workers):
                task.cancel()
            ends = await asyncio.gather(*workers, return_exceptions=True)
        if not is_told.is_set():
            # When the database goes, one of them ends in silence as well as by an error.
            cause = next((end for end in ends if isinstance(end, Exception)), None)
            raise QueueLost("the queue of jobs cannot be read any more") from cause


async def _work_on(
    app: procrastinate.App,
    queue: str,
    concurrency: int,
    drain_s: float,
    takeover_s: float,
) -> None:
    await app.run_worker_async(
        queues=[queue],
        concurrency=concurrency,
        fetch_job_polling_interval=0.5,
        update_heartbeat_interval=takeover_s / _HEARTBEATS,
        stalled_worker_timeout=takeover_s,
        shutdown_graceful_timeout=drain_s,
        delete_jobs="successful",
        install_signal_handlers=False,
    )


async def _look_each_minute(work: Callable[[], object], pause_s: float = 60.0) -> None:
    while True:
        try:
            await asyncio.to_thread(work)
        except Exception:  # whatever it was, the queues go on, and the next minute tries again
            log.exception("work_of_the_minute_failed")
        await asyncio.sleep(pause_s)


async def _free_stalled_jobs(app: procrastinate.App, takeover_s: float) -> None:
    """Give the jobs of workers that have died back to the queue."""
    fence = FencedJobs(app.connector)
    while True:
        try:
            for job in await fence.free_stalled_jobs(takeover_s):
                log.warning("job_of_a_dead_worker_freed", extra={"job": job})
        except procrastinate.exceptions.ConnectorException:
            log.exception("stalled_jobs_not_checked")
        await asyncio.sleep(takeover_s / _HEARTBEATS)

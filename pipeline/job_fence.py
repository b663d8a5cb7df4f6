"""Jobs of workers that are gone or frozen are given to others; who comes back finds that the job is not his any more.

Every time here is the database's: a worker whose clock is wrong neither loses its jobs nor keeps those of others.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from procrastinate import jobs, manager

log = logging.getLogger("radmeter.jobs")

# The row is locked in a subquery, before the function is called.
# A job is its worker's while it is being done and was not given back since: giving back counts as an attempt.
_FINISH = """
SELECT procrastinate_finish_job_v1(id, %(status)s::procrastinate_job_status, %(delete_job)s)
FROM (SELECT id FROM procrastinate_jobs
      WHERE id = %(job_id)s AND status = 'doing' AND worker_id = %(worker_id)s AND attempts = %(attempts)s
      FOR UPDATE) ours"""
_RETRY = """
SELECT procrastinate_retry_job_v2(id, clock_timestamp() + make_interval(secs => %(delay_s)s), %(priority)s::integer,
                                  %(queue)s::varchar, %(lock)s::varchar)
FROM (SELECT id FROM procrastinate_jobs
      WHERE id = %(job_id)s AND status = 'doing' AND worker_id = %(worker_id)s AND attempts = %(attempts)s
      FOR UPDATE) ours"""
# In one statement: of several workers that notice the death together one frees the job, and only once.
_FREE = """
SELECT id, procrastinate_retry_job_v2(id, clock_timestamp(), NULL, NULL, NULL)
FROM (SELECT j.id FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
      WHERE j.status = 'doing'
        AND (w.id IS NULL OR w.last_heartbeat < clock_timestamp() - make_interval(secs => %(after_s)s))
      FOR UPDATE OF j SKIP LOCKED) stalled"""


class FencedJobs(manager.JobManager):
    """The queue as a worker sees it: what it says of a job counts only while the job is its own."""

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        rows = await self.connector.execute_query_all_async(
            query=_FINISH,
            **self._ownership(job),
            status=status.value,
            delete_job=delete_job,
        )
        self._tell_if_lost(job, bool(rows))

    async def retry_job(
        self,
        job: jobs.Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        delay_s = (retry_at - datetime.now(UTC)).total_seconds() if retry_at else 0.0
        rows = await self.connector.execute_query_all_async(
            query=_RETRY,
            **self._ownership(job),
            delay_s=max(0.0, delay_s),
            priority=priority,
            queue=queue,
            lock=lock,
        )
        self._tell_if_lost(job, bool(rows))

    async def free_stalled_jobs(self, after_s: float) -> list[int]:
        """Give jobs back whose worker has given no sign of life for `after_s`; returns their numbers."""
        rows = await self.connector.execute_query_all_async(query=_FREE, after_s=after_s)
        return [int(row["id"]) for row in rows]

    @staticmethod
    def _ownership(job: jobs.Job) -> dict[str, object]:
        return {"job_id": job.id, "worker_id": job.worker_id, "attempts": job.attempts}

    @staticmethod
    def _tell_if_lost(job: jobs.Job, is_ours: bool) -> None:
        if not is_ours:
            log.warning("job_was_taken_over", extra={"job": job.id})

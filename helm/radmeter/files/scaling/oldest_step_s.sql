-- Seconds that the step has waited which has waited longest, since it could have run: one bigint.
SELECT coalesce(max(extract(epoch FROM now() - greatest(job.scheduled_at, put.at))), 0)::bigint
FROM procrastinate_jobs AS job
CROSS JOIN LATERAL (
    SELECT max(event.at) AS at FROM procrastinate_events AS event
    WHERE event.job_id = job.id AND event.type IN ('deferred', 'deferred_for_retry', 'retried')
) AS put
WHERE job.queue_name = 'studies' AND job.status = 'todo' AND coalesce(job.scheduled_at, now()) <= now()

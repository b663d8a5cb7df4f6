-- Seconds that the step has waited longest which is an emergency's, or whose urgency is not known yet (it is assembled
-- or routed first): one bigint.
SELECT coalesce(max(extract(epoch FROM now() - greatest(job.scheduled_at, put.at))), 0)::bigint
FROM procrastinate_jobs AS job
CROSS JOIN LATERAL (
    SELECT max(event.at) AS at FROM procrastinate_events AS event
    WHERE event.job_id = job.id AND event.type IN ('deferred', 'deferred_for_retry', 'retried')
) AS put
WHERE job.queue_name = 'studies' AND job.status = 'todo' AND job.priority >= 10
  AND coalesce(job.scheduled_at, now()) <= now()

-- Steps under way and those of emergencies that wait for a place: what must fit at once. Zero while none waits. One bigint.
SELECT CASE WHEN count(*) FILTER (WHERE status = 'todo') = 0 THEN 0 ELSE count(*) END
FROM procrastinate_jobs
WHERE queue_name = 'studies'
  AND (status = 'doing' OR status = 'todo' AND priority = 10 AND coalesce(scheduled_at, now()) <= now())

-- Steps that could run now, or do: one bigint.
SELECT count(*) FROM procrastinate_jobs
WHERE queue_name = 'studies'
  AND (status = 'doing' OR status = 'todo' AND coalesce(scheduled_at, now()) <= now())

-- depends: pipeline-0630.schema-phase billing-0081.usage-days
-- phase: expand

-- When a nightly or hourly run last went well and last did not: alerts ask for its age. subject: the tenant whose books
-- were checked, empty where a run is about the whole installation.
CREATE TABLE maintenance_run (
    name          text NOT NULL CHECK (name ~ '^[a-z_]{1,40}$'),
    subject       text NOT NULL DEFAULT '',
    succeeded_at  timestamptz,
    failed_at     timestamptz,
    PRIMARY KEY (name, subject)
);
GRANT SELECT, INSERT, UPDATE ON maintenance_run TO radmeter_app;

-- What usage without a statement would come to, as it was rated last; to rate it anew for each scrape would be dear.
CREATE TABLE unbilled_figure (
    tenant        text NOT NULL REFERENCES tenant,
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    is_over       boolean NOT NULL, -- of periods that have ended; else of those that run
    amount_minor  bigint NOT NULL,
    ended_at      timestamptz, -- of the oldest of those periods, where it has ended
    PRIMARY KEY (tenant, currency, is_over)
);
CREATE TABLE unbilled_figured (
    tenant  text PRIMARY KEY REFERENCES tenant,
    at      timestamptz NOT NULL
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['unbilled_figure', 'unbilled_figured']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

-- Figures of the whole installation, without any tenant's name. A metric may come in several rows; `portal.observed` adds
-- them up or takes the largest. Everything here is found by an index or lies in a small table.
CREATE FUNCTION observe_installation() RETURNS TABLE (metric text, labels text[], value double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    before text := coalesce(current_setting('radmeter.tenant', true), '');
    this   text;
BEGIN
    -- Jobs: those that could run now, with how long the oldest could, and those that run.
    RETURN QUERY
    WITH job AS (
        SELECT j.queue_name::text AS queue,
            CASE j.task_name WHEN 'take_step' THEN CASE s.status WHEN 'assembled' THEN 'route' WHEN 'routed' THEN 'decode'
                    WHEN 'decoded' THEN 'infer' WHEN 'inferred' THEN 'encode' WHEN 'encoded' THEN 'deliver' ELSE 'none' END
                ELSE j.task_name::text END AS step,
            coalesce(CASE j.priority WHEN 10 THEN 'emergency' WHEN 0 THEN 'normal' WHEN -10 THEN 'off_peak' END, 'unknown') AS priority,
            j.status,
            coalesce(j.scheduled_at, (SELECT min(e.at) FROM procrastinate_events e WHERE e.job_id = j.id)) AS due_at
        FROM procrastinate_jobs j
        LEFT JOIN study s ON j.task_name = 'take_step' AND s.id = (j.args ->> 'study_id')::uuid
        WHERE j.status IN ('todo', 'doing')
    )
    SELECT named.metric, ARRAY[j.queue, j.step, j.priority], named.value FROM (
        SELECT queue, step, priority, count(*) FILTER (WHERE status = 'todo' AND due_at <= now()) AS due,
            count(*) FILTER (WHERE status = 'todo' AND due_at > now()) AS later,
            count(*) FILTER (WHERE status = 'doing') AS running,
            extract(epoch FROM now() - min(due_at) FILTER (WHERE status = 'todo' AND due_at <= now())) AS age_s
        FROM job GROUP BY queue, step, priority
    ) j, LATERAL (VALUES ('queue_jobs', j.due::double precision), ('queue_scheduled_jobs', j.later::double precision),
        ('queue_running_jobs', j.running::double precision), ('queue_oldest_seconds', coalesce(j.age_s, 0)::double precision)
    ) AS named (metric, value);

    RETURN QUERY
    SELECT 'jobs_failed', ARRAY[task_name::text], count(*)::double precision FROM procrastinate_jobs
    WHERE status = 'failed' GROUP BY task_name;

    RETURN QUERY
    SELECT 'jobs_stalled', ARRAY[]::text[], count(*)::double precision FROM procrastinate_jobs j
    LEFT JOIN procrastinate_workers w ON w.id = j.worker_id
    WHERE j.status = 'doing' AND (w.id IS NULL OR w.last_heartbeat < now() - interval '30 seconds');

    RETURN QUERY
    SELECT 'workers', ARRAY[]::text[], count(*)::double precision FROM procrastinate_workers
    WHERE last_heartbeat > now() - interval '10 seconds';

    RETURN QUERY
    SELECT named.metric, ARRAY[r.name], named.value FROM maintenance_run r, LATERAL (VALUES
        ('maintenance_last_success_timestamp_seconds', extract(epoch FROM r.succeeded_at)::double precision),
        ('maintenance_failing', (coalesce(r.failed_at > r.succeeded_at, r.failed_at IS NOT NULL))::int::double precision)
    ) AS named (metric, value) WHERE named.value IS NOT NULL;

    FOR this IN SELECT tenant FROM tenant ORDER BY tenant LOOP
        PERFORM set_config('radmeter.tenant', this, true); -- most tables obey their policy for the owner too

        RETURN QUERY
        SELECT named.metric, ARRAY[d.kind], named.value FROM (
            SELECT coalesce(t.kind, 'dimse') AS kind, count(*) AS waiting, extract(epoch FROM now() - min(v.waiting_since)) AS age_s
            FROM delivery v LEFT JOIN destination t ON t.tenant = v.tenant AND t.name = v.destination
            WHERE v.tenant = this AND v.state = 'waiting' GROUP BY 1
        ) d, LATERAL (VALUES ('deliveries_waiting', d.waiting::double precision),
            ('delivery_oldest_seconds', d.age_s::double precision)) AS named (metric, value);

        RETURN QUERY
        SELECT 'deliveries', ARRAY[v.state], count(*)::double precision FROM delivery v
        WHERE v.tenant = this AND v.state IN ('refused', 'dead') GROUP BY v.state;

        RETURN QUERY
        SELECT 'study_oldest_open_seconds', ARRAY[s.status, s.priority], extract(epoch FROM now() - min(s.updated_at))::double precision
        FROM study s WHERE s.tenant = this
            AND s.status IN ('receiving', 'assembled', 'routed', 'held', 'decoded', 'inferred', 'encoded')
        GROUP BY s.status, s.priority;

        -- Nothing that waits is ever without a job: these would wait for ever.
        RETURN QUERY
        SELECT 'studies_without_job', ARRAY[s.status], count(*)::double precision FROM study s
        WHERE s.tenant = this AND s.status IN ('assembled', 'routed', 'decoded', 'inferred', 'encoded')
            AND s.updated_at < now() - interval '60 seconds'
            AND s.id::text NOT IN (SELECT j.args ->> 'study_id' FROM procrastinate_jobs j
                                   WHERE j.status IN ('todo', 'doing') AND j.args ? 'study_id')
        GROUP BY s.status
        UNION ALL
        SELECT 'studies_without_job', ARRAY['receiving'], count(*)::double precision FROM arrival a
        WHERE a.tenant = this AND a.closed_at IS NULL AND a.last_at < now() - interval '60 seconds'
            AND a.id::text NOT IN (SELECT j.args ->> 'arrival_id' FROM procrastinate_jobs j
                                   WHERE j.status IN ('todo', 'doing') AND j.args ? 'arrival_id');

        RETURN QUERY
        SELECT 'usage_events_quarantined', ARRAY[]::text[], count(*)::double precision FROM billing.event_decision d
        WHERE d.tenant = this AND d.outcome = 'quarantined' AND NOT EXISTS (
            SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant
                AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision);

        RETURN QUERY
        SELECT named.metric, ARRAY[u.currency, CASE WHEN u.is_over THEN 'ended' ELSE 'running' END], named.value
        FROM unbilled_figure u, LATERAL (VALUES ('money_unbilled_minor', u.amount_minor::double precision),
            ('money_unbilled_oldest_seconds', extract(epoch FROM now() - u.ended_at)::double precision)) AS named (metric, value)
        WHERE u.tenant = this AND named.value IS NOT NULL;
    END LOOP;
    PERFORM set_config('radmeter.tenant', before, true);
END
$$;

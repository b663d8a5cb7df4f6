-- depends: pipeline-0400.answer billing-0001.usage

-- What a version of a model did at a site on one day (UTC), as counts that can be added: no patient, no study.
CREATE TABLE model_health_day (
    tenant         text NOT NULL REFERENCES tenant,
    day            date NOT NULL,
    product        text NOT NULL,
    model_version  text NOT NULL, -- '' where a study ended before a version was chosen and none had run before
    site           text NOT NULL, -- '' for peers without one
    dimension      text NOT NULL CHECK (length(dimension) BETWEEN 1 AND 80),
    value          text NOT NULL CHECK (length(value) <= 64),
    count          integer NOT NULL CHECK (count > 0),
    PRIMARY KEY (tenant, product, model_version, site, day, dimension, value)
);
CREATE INDEX model_health_day_of_tenant ON model_health_day (tenant, day);

-- The latest figures, for machines that watch.
CREATE TABLE model_figure (
    tenant         text NOT NULL REFERENCES tenant,
    product        text NOT NULL,
    model_version  text NOT NULL,
    site           text NOT NULL,
    metric         text NOT NULL,
    of_what        text NOT NULL,
    value          double precision NOT NULL,
    computed_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, product, model_version, site, metric, of_what)
);

-- What a rule found, from when to when it held.
CREATE TABLE model_alarm (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant         text NOT NULL REFERENCES tenant,
    product        text NOT NULL,
    model_version  text NOT NULL,
    site           text NOT NULL,
    rule           text NOT NULL,
    sentence       text NOT NULL,
    raised_at      timestamptz NOT NULL,
    cleared_at     timestamptz
);
CREATE UNIQUE INDEX model_alarm_open ON model_alarm (tenant, product, model_version, site, rule) WHERE cleared_at IS NULL;
CREATE INDEX model_alarm_recent ON model_alarm (tenant, raised_at DESC);

-- While a row is open the product reads no study of the site; the empty site is all of them.
CREATE TABLE model_pause (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant      text NOT NULL REFERENCES tenant,
    product     text NOT NULL,
    site        text NOT NULL,
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    paused_by   text NOT NULL, -- a user, or rule:name
    paused_at   timestamptz NOT NULL,
    resumed_by  text,
    resumed_at  timestamptz,
    CHECK ((resumed_by IS NULL) = (resumed_at IS NULL))
);
CREATE UNIQUE INDEX model_pause_open ON model_pause (tenant, product, site) WHERE resumed_at IS NULL;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['model_health_day', 'model_figure', 'model_alarm', 'model_pause']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO radmeter_app;

CREATE INDEX result_by_day ON result (tenant, created_at);
CREATE INDEX usage_event_ended ON billing.usage_event (tenant, occurred_at) WHERE kind IN ('refused', 'failed', 'outcome');

-- For the metrics, over all tenants: figures, open alarms and pauses, nothing of a study.
CREATE FUNCTION every_model_figure() RETURNS TABLE (
    tenant text, product text, model_version text, site text, metric text, of_what text, value double precision
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT f.tenant, f.product, f.model_version, f.site, f.metric, f.of_what, f.value FROM model_figure f
    UNION ALL
    SELECT a.tenant, a.product, a.model_version, a.site, 'alarm', a.rule, 1 FROM model_alarm a WHERE a.cleared_at IS NULL
    UNION ALL
    SELECT p.tenant, p.product, '', p.site, 'paused', '', 1 FROM model_pause p WHERE p.resumed_at IS NULL
$$;

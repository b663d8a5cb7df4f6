-- depends: pipeline-0590.workitems billing-0072.webhooks
-- phase: expand

-- A tenant of made-up studies, which nobody may ever be charged for.
ALTER TABLE tenant ADD COLUMN is_synthetic boolean NOT NULL DEFAULT false;

-- Nothing is billable without a contract (billing.event_decision): such a tenant gets none, whoever asks for it.
CREATE FUNCTION refuse_contract_of_synthetic_tenant() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM tenant WHERE tenant.tenant = NEW.tenant AND is_synthetic) THEN
        RAISE EXCEPTION 'the studies of tenant % are made up and never billed: it has no contract', NEW.tenant;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER not_of_a_synthetic_tenant BEFORE INSERT OR UPDATE OF tenant ON billing.contract
    FOR EACH ROW EXECUTE FUNCTION refuse_contract_of_synthetic_tenant();

-- A destination that reads what it is sent and keeps nothing: for made-up studies alone, else a result would count as
-- delivered that nobody has.
ALTER TABLE destination DROP CONSTRAINT destination_kind_check,
    ADD CONSTRAINT destination_kind_check CHECK (kind IN ('dimse', 'stow', 'fhir', 'hl7', 'webhook', 'email', 'sink'));
CREATE FUNCTION refuse_sink_of_real_tenant() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF NEW.kind = 'sink' AND NOT EXISTS (SELECT 1 FROM tenant WHERE tenant.tenant = NEW.tenant AND is_synthetic) THEN
        RAISE EXCEPTION 'results of real studies must not vanish: tenant % gets no sink', NEW.tenant;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER sink_for_synthetic_tenants BEFORE INSERT OR UPDATE ON destination
    FOR EACH ROW EXECUTE FUNCTION refuse_sink_of_real_tenant();

-- Each made-up study: when it went out, what became of it. Open while ended_at is null.
CREATE TABLE heartbeat (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant              text NOT NULL REFERENCES tenant,
    study_instance_uid  text NOT NULL UNIQUE,
    started_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at            timestamptz,
    seconds             double precision, -- from the first byte sent to the acknowledged result; null where it failed
    stage               text, -- where it failed; null while it is under way and where it did not
    problem             text,
    CHECK ((stage IS NULL) = (problem IS NULL)),
    CHECK ((ended_at IS NOT NULL) = (stage IS NOT NULL OR seconds IS NOT NULL)),
    CHECK (stage IS NULL OR seconds IS NULL)
);
CREATE INDEX heartbeat_newest ON heartbeat (tenant, started_at DESC);
CREATE UNIQUE INDEX heartbeat_one_at_a_time ON heartbeat (tenant) WHERE ended_at IS NULL;

-- Counted here, for the rows above are removed and processes end.
CREATE TABLE heartbeat_failure (
    tenant    text NOT NULL REFERENCES tenant,
    stage     text NOT NULL,
    failures  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, stage)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['heartbeat', 'heartbeat_failure']
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

-- What people count are studies of patients.
CREATE OR REPLACE FUNCTION count_studies_by_status() RETURNS TABLE (status text, study_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT study.status, count(*) FROM study JOIN tenant USING (tenant) WHERE NOT is_synthetic GROUP BY study.status
$$;

-- depends: pipeline-0610.keys
-- phase: expand

-- A study that was erased: its row stays for the books, and says nothing of a patient.
ALTER TABLE study DROP CONSTRAINT study_status_check;
ALTER TABLE study ADD CONSTRAINT study_status_check CHECK (status IN ('receiving', 'assembled', 'routed', 'held', 'decoded',
    'inferred', 'encoded', 'delivered', 'shadowed', 'rejected', 'failed', 'prior', 'erased')) NOT VALID;
ALTER TABLE study VALIDATE CONSTRAINT study_status_check;

-- What was erased, so that it is erased again where an older state is restored. No patient data.
CREATE TABLE erasure (
    tenant    text NOT NULL REFERENCES tenant,
    id        uuid NOT NULL,
    study_id  uuid, -- null = all of the tenant
    reason    text NOT NULL CHECK (length(reason) BETWEEN 1 AND 200),
    by        text NOT NULL,
    at        timestamptz NOT NULL,
    done_at   timestamptz, -- its objects are gone too
    PRIMARY KEY (tenant, id)
);
CREATE INDEX erasure_unfinished ON erasure (tenant, at) WHERE done_at IS NULL;
CREATE INDEX erasure_recent ON erasure (tenant, done_at);

-- Whose objects an erasure removes from the store.
CREATE TABLE erasure_scope (
    tenant      text NOT NULL,
    erasure_id  uuid NOT NULL,
    scope       text NOT NULL,
    PRIMARY KEY (tenant, erasure_id, scope),
    FOREIGN KEY (tenant, erasure_id) REFERENCES erasure (tenant, id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['erasure', 'erasure_scope']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

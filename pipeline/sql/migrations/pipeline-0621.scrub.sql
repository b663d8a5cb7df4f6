-- depends: pipeline-0620.retention
-- phase: expand

-- Whether the images, or results, of a study were removed by policy and have not come again.
CREATE FUNCTION was_removed(p_tenant text, p_study_id uuid, p_what text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM retention_removal r
        WHERE r.tenant = p_tenant AND r.study_id = p_study_id AND r.what = p_what
          AND NOT EXISTS (SELECT 1 FROM arrival a WHERE a.tenant = r.tenant AND a.study_id = r.study_id
                          AND p_what = 'images' AND a.last_at > r.decided_at))
$$;
GRANT EXECUTE ON FUNCTION was_removed TO radmeter_app;

-- How far the search for rot has come: each file is read again, one after the other, and then from the beginning.
CREATE TABLE scrub_position (
    tenant       text NOT NULL REFERENCES tenant,
    kind         text NOT NULL CHECK (kind IN ('instance', 'quarantined', 'result')),
    row_key      text NOT NULL DEFAULT '', -- of the file that was read last
    files        bigint NOT NULL DEFAULT 0, -- in this pass
    bytes        bigint NOT NULL DEFAULT 0,
    began_at     timestamptz NOT NULL,
    finished_at  timestamptz,               -- the last whole pass
    PRIMARY KEY (tenant, kind)
);

-- A file that is not what its row says, until it is whole again.
CREATE TABLE rotten_file (
    tenant    text NOT NULL REFERENCES tenant,
    kind      text NOT NULL CHECK (kind IN ('instance', 'quarantined', 'result')),
    row_key   text NOT NULL,
    study_id  uuid REFERENCES study,
    found     text NOT NULL CHECK (found IN ('rotten', 'missing')),
    found_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, kind, row_key)
);
CREATE INDEX rotten_file_of_study ON rotten_file (tenant, study_id);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['scrub_position', 'rotten_file']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

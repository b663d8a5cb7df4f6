-- depends: pipeline-0400.answer

-- How far the models of a study have come, while they run.
CREATE TABLE study_progress (
    tenant      text NOT NULL REFERENCES tenant,
    study_id    uuid NOT NULL REFERENCES study,
    model       text NOT NULL,
    done        int NOT NULL CHECK (done BETWEEN 0 AND total),
    total       int NOT NULL,
    began_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, study_id, model)
);
ALTER TABLE study_progress ENABLE ROW LEVEL SECURITY;
ALTER TABLE study_progress FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON study_progress USING (tenant = current_setting('radmeter.tenant', true))
    WITH CHECK (tenant = current_setting('radmeter.tenant', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON study_progress TO radmeter_app;

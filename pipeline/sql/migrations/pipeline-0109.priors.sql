-- depends: pipeline-0009.query

-- A prior was fetched for comparison: it is kept, and neither analysed nor billed unless it comes as a study of its own.
ALTER TABLE study ADD COLUMN purpose text NOT NULL DEFAULT 'clinical' CHECK (purpose IN ('clinical', 'prior'));
ALTER TABLE study DROP CONSTRAINT study_status_check;
ALTER TABLE study ADD CONSTRAINT study_status_check CHECK (status IN
    ('receiving', 'assembled', 'routed', 'decoded', 'inferred', 'encoded', 'delivered', 'rejected', 'failed', 'prior'));

-- While we fetch a study, what comes of it is a prior. The window is closed when the retrieval has ended, and closes by
-- itself when the one who fetches has died.
CREATE TABLE expected_prior (
    tenant              text NOT NULL REFERENCES tenant,
    study_instance_uid  text NOT NULL,
    from_at             timestamptz NOT NULL,
    until_at            timestamptz NOT NULL,
    PRIMARY KEY (tenant, study_instance_uid)
);

-- What a rule found in the archive for a study, and what became of it.
CREATE TABLE prior_candidate (
    tenant              text NOT NULL REFERENCES tenant,
    study_id            uuid NOT NULL REFERENCES study,
    study_instance_uid  text NOT NULL,
    header              jsonb NOT NULL, -- like study.header, as the archive says
    state               text NOT NULL CHECK (state IN ('wanted', 'here', 'not_wanted', 'failed')),
    reason              text,
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, study_id, study_instance_uid),
    CHECK (state NOT IN ('not_wanted', 'failed') OR reason IS NOT NULL)
);
CREATE INDEX prior_candidate_by_uid ON prior_candidate (tenant, study_instance_uid);

CREATE TABLE prior_of (
    tenant          text NOT NULL REFERENCES tenant,
    study_id        uuid NOT NULL REFERENCES study,
    prior_study_id  uuid NOT NULL REFERENCES study,
    found_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, study_id, prior_study_id),
    CHECK (study_id <> prior_study_id)
);
CREATE INDEX prior_of_prior ON prior_of (prior_study_id);

CREATE FUNCTION mark_expected_prior() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM expected_prior e WHERE e.tenant = NEW.tenant
               AND e.study_instance_uid = NEW.study_instance_uid AND clock_timestamp() BETWEEN e.from_at AND e.until_at) THEN
        NEW.purpose := 'prior';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER study_is_expected_prior BEFORE INSERT ON study FOR EACH ROW EXECUTE FUNCTION mark_expected_prior();

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['expected_prior', 'prior_candidate', 'prior_of']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

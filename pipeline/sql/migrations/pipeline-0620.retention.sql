-- depends: pipeline-0630.schema-phase
-- phase: expand

-- How long what a tenant has stored stays; null = for ever.
CREATE TABLE retention_policy (
    tenant           text PRIMARY KEY REFERENCES tenant,
    images_days      integer CHECK (images_days BETWEEN 1 AND 36500),      -- received images, after delivery
    results_days     integer CHECK (results_days BETWEEN 1 AND 36500),     -- reports and result objects, after delivery
    quarantine_days  integer CHECK (quarantine_days BETWEEN 1 AND 36500),  -- images in quarantine, after reception
    changed_by       text NOT NULL CHECK (changed_by <> ''),
    changed_at       timestamptz NOT NULL,
    -- A report without its images can be read; images without their report are nobody's.
    CHECK (results_days IS NULL OR images_days <= results_days)
);

-- A legal hold: of one study, of one patient, or, with neither, of everything that the tenant has.
CREATE TABLE retention_hold (
    tenant           text NOT NULL REFERENCES tenant,
    hold_id          bigint GENERATED ALWAYS AS IDENTITY,
    study_id         uuid REFERENCES study,
    patient_id       text CHECK (length(patient_id) BETWEEN 1 AND 64),
    reason           text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    placed_by        text NOT NULL CHECK (placed_by <> ''),
    placed_at        timestamptz NOT NULL,
    released_reason  text CHECK (length(released_reason) BETWEEN 1 AND 500),
    released_by      text CHECK (released_by <> ''),
    released_at      timestamptz,
    PRIMARY KEY (tenant, hold_id),
    CHECK (num_nonnulls(study_id, patient_id) <= 1),
    CHECK (num_nulls(released_reason, released_by, released_at) IN (0, 3))
);
CREATE INDEX retention_hold_in_force ON retention_hold (tenant) WHERE released_at IS NULL;

-- What was removed by policy. Written before the first file goes, done when the last has gone: a removal that was
-- interrupted is taken up again. The rows of what was removed stay, with their digests: the same images sent again are
-- known and not charged.
CREATE TABLE retention_removal (
    tenant      text NOT NULL REFERENCES tenant,
    removal_id  bigint GENERATED ALWAYS AS IDENTITY,
    study_id    uuid REFERENCES study, -- null = images in quarantine that belong to no study
    what        text NOT NULL CHECK (what IN ('images', 'results', 'quarantined')),
    days        integer NOT NULL,      -- of the policy that removed it
    decided_at  timestamptz NOT NULL,
    done_at     timestamptz,
    files       integer,
    bytes       bigint,
    PRIMARY KEY (tenant, removal_id)
);
CREATE INDEX retention_removal_of_study ON retention_removal (tenant, study_id, what, decided_at);
CREATE INDEX retention_removal_to_do ON retention_removal (tenant) WHERE done_at IS NULL;

CREATE INDEX study_updated ON study (tenant, updated_at);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['retention_policy', 'retention_hold', 'retention_removal']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO radmeter_app;

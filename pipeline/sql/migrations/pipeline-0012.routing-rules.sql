-- depends: pipeline-0011.completeness

-- Versions of a tenant's routing rules. A stored version never changes; editing makes the next one.
CREATE TABLE route_rule_set (
    tenant        text NOT NULL REFERENCES tenant,
    version       integer NOT NULL CHECK (version > 0),
    document      text NOT NULL CHECK (length(document) BETWEEN 1 AND 65536),
    state         text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'active', 'retired')),
    author        text NOT NULL,
    note          text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    activated_at  timestamptz,
    activated_by  text,
    PRIMARY KEY (tenant, version)
);
CREATE UNIQUE INDEX route_rule_set_active ON route_rule_set (tenant) WHERE state = 'active';

-- What the routing saw of a study, small enough to keep: rules are tried on it when the images are long gone.
CREATE TABLE study_facts (
    tenant      text NOT NULL REFERENCES tenant,
    study_id    uuid NOT NULL REFERENCES study ON DELETE CASCADE,
    facts       jsonb NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, study_id)
);

ALTER TABLE study ADD COLUMN rule_set_version integer; -- the version that routed it; null = no rules
ALTER TABLE study ADD COLUMN priority text NOT NULL DEFAULT 'normal' CHECK (priority IN ('emergency', 'normal', 'off_peak'));
-- For off_peak: when its models may run, {"begins", "ends", "days", "time_zone"}.
ALTER TABLE study ADD COLUMN run_window jsonb;
ALTER TABLE study DROP CONSTRAINT study_status_check;
ALTER TABLE study ADD CONSTRAINT study_status_check CHECK (status IN ('receiving', 'assembled', 'routed', 'decoded', 'inferred',
    'encoded', 'delivered', 'shadowed', 'rejected', 'failed'));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['route_rule_set', 'study_facts']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

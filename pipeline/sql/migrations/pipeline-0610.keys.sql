-- depends: pipeline-0590.workitems
-- phase: expand

-- Keys of a tenant, wrapped by a master key that lies outside the database. One is in force, former ones only open.
CREATE TABLE tenant_key (
    tenant       text NOT NULL REFERENCES tenant,
    id           uuid NOT NULL,
    master_id    text NOT NULL CHECK (master_id ~ '^[0-9a-f]{16}$'),
    wrapped      bytea, -- null = destroyed
    created_at   timestamptz NOT NULL DEFAULT now(),
    retired_at   timestamptz,
    shredded_at  timestamptz,
    PRIMARY KEY (tenant, id),
    CHECK ((wrapped IS NULL) = (shredded_at IS NOT NULL)),
    CHECK (shredded_at IS NULL OR retired_at IS NOT NULL)
);
CREATE UNIQUE INDEX tenant_key_in_force ON tenant_key (tenant) WHERE retired_at IS NULL;

-- Keys that data are sealed with, wrapped by a key of the tenant. scope: what shares one key, so that it can be
-- shredded for itself: the folder of a study's instances, or of its results; 'secrets' for values in the database.
CREATE TABLE data_key (
    tenant         text NOT NULL,
    id             uuid NOT NULL,
    scope          text NOT NULL CHECK (length(scope) BETWEEN 1 AND 200),
    tenant_key_id  uuid NOT NULL,
    wrapped        bytea, -- null = shredded: what it sealed is erased
    created_at     timestamptz NOT NULL DEFAULT now(),
    retired_at     timestamptz,
    shredded_at    timestamptz,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, tenant_key_id) REFERENCES tenant_key (tenant, id),
    CHECK ((wrapped IS NULL) = (shredded_at IS NOT NULL)),
    CHECK (shredded_at IS NULL OR retired_at IS NOT NULL)
);
CREATE UNIQUE INDEX data_key_in_force ON data_key (tenant, scope) WHERE retired_at IS NULL;
CREATE INDEX data_key_of_scope ON data_key (tenant, scope);
CREATE INDEX data_key_to_wrap_anew ON data_key (tenant, tenant_key_id) WHERE wrapped IS NOT NULL;
CREATE INDEX data_key_to_seal_anew ON data_key (tenant, retired_at) WHERE wrapped IS NOT NULL AND retired_at IS NOT NULL;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenant_key', 'data_key']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

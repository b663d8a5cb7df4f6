-- depends: pipeline-0440.model-health

-- What a tenant's rules about models go by, where it is not the default.
CREATE TABLE model_bound (
    tenant      text NOT NULL REFERENCES tenant,
    name        text NOT NULL,
    value       double precision NOT NULL,
    changed_by  text NOT NULL,
    changed_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, name)
);
ALTER TABLE model_bound ENABLE ROW LEVEL SECURITY;
ALTER TABLE model_bound FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON model_bound USING (tenant = current_setting('radmeter.tenant', true))
    WITH CHECK (tenant = current_setting('radmeter.tenant', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON model_bound TO radmeter_app;

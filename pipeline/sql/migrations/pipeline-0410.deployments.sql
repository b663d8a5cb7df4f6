-- depends: pipeline-0400.answer

-- Which versions of a model a tenant runs. Without a row it is the default one. '' is the default version: that of this
-- software, else the one that was installed first.
CREATE TABLE model_deployment (
    tenant           text NOT NULL REFERENCES tenant,
    model            text NOT NULL,
    active_version   text NOT NULL DEFAULT '',
    former_versions  text[] NOT NULL DEFAULT '{}', -- active before, the latest last: the way back
    canary_version   text,
    canary_percent   integer CHECK (canary_percent BETWEEN 1 AND 99), -- of the studies, a stable choice by their id
    shadow_version   text, -- runs beside the others: kept, not delivered, not charged
    changed_at       timestamptz NOT NULL DEFAULT now(),
    changed_by       text NOT NULL,
    PRIMARY KEY (tenant, model),
    CHECK ((canary_version IS NULL) = (canary_percent IS NULL))
);

-- Operating thresholds other than the manifest's. A threshold belongs to one version: scores of others mean something else.
CREATE TABLE model_threshold (
    tenant      text NOT NULL REFERENCES tenant,
    model       text NOT NULL,
    version     text NOT NULL,
    site        text NOT NULL DEFAULT '', -- of the peer that sent the study; '' = every site
    ae_title    text NOT NULL DEFAULT '', -- one peer; '' = every peer
    threshold   double precision NOT NULL CHECK (threshold BETWEEN 0 AND 1),
    changed_at  timestamptz NOT NULL DEFAULT now(),
    changed_by  text NOT NULL,
    PRIMARY KEY (tenant, model, version, site, ae_title),
    CHECK (site = '' OR ae_title = '')
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['model_deployment', 'model_threshold']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

-- What a result was judged by, and why this version made it: {"role": "active" | "canary" | "shadow", "active", …}.
ALTER TABLE result ADD COLUMN operating_threshold double precision CHECK (operating_threshold BETWEEN 0 AND 1);
ALTER TABLE result ADD COLUMN deployment jsonb NOT NULL DEFAULT '{}'::jsonb CHECK (jsonb_typeof(deployment) = 'object');

-- The portal may change which models read a tenant's studies, and nothing else of the tenant.
CREATE FUNCTION set_tenant_models(p_tenant text, p_models text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    UPDATE tenant SET models = p_models
    WHERE tenant = p_tenant AND tenant = current_setting('radmeter.tenant', true)
$$;
REVOKE EXECUTE ON FUNCTION set_tenant_models FROM PUBLIC;
GRANT EXECUTE ON FUNCTION set_tenant_models TO radmeter_app;

-- depends: pipeline-0005.ordinary-owner

-- Who wrote the software at the other end (PS3.7 D.3.3.2), as it says itself.
ALTER TABLE association ADD COLUMN implementation_class_uid text NOT NULL DEFAULT '';
ALTER TABLE association ADD COLUMN implementation_version_name text NOT NULL DEFAULT '';

-- What a modality says it does and did (MPPS, PS3.4 annex F).
CREATE TABLE performed_procedure_step (
    tenant              text NOT NULL REFERENCES tenant,
    sop_instance_uid    text NOT NULL,
    ae_title            text NOT NULL, -- the peer that made it; only this one may change it
    study_instance_uid  text NOT NULL,
    status              text NOT NULL CHECK (status IN ('IN PROGRESS', 'COMPLETED', 'DISCONTINUED')),
    -- [{"series_instance_uid": …, "sop_instance_uids": […]}], images and other objects alike
    series              jsonb NOT NULL DEFAULT '[]',
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, sop_instance_uid)
);
CREATE INDEX performed_procedure_step_of_study ON performed_procedure_step (tenant, study_instance_uid);

-- A peer asked us to take over the safekeeping of instances (storage commitment, PS3.4 annex J), and what we answered.
CREATE TABLE storage_commitment (
    tenant           text NOT NULL REFERENCES tenant,
    ae_title         text NOT NULL,
    transaction_uid  text NOT NULL,
    -- [[SOP class UID, SOP instance UID], …] as asked for
    requested        jsonb NOT NULL,
    -- [[SOP class UID, SOP instance UID, failure reason of PS3.3 C.14.1.1], …]; what is not in it is committed
    failed           jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    attempts         integer NOT NULL DEFAULT 0,
    last_error       text,
    reported_at      timestamptz, -- when the peer acknowledged the N-EVENT-REPORT
    PRIMARY KEY (tenant, ae_title, transaction_uid)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['performed_procedure_step', 'storage_commitment']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

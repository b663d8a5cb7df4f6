-- depends: pipeline-0500.object-kinds

-- The unified worklist (PS3.18 section 11): work that others hand us, or that we keep for others to claim.
CREATE TABLE workitem (
    tenant              text NOT NULL REFERENCES tenant,
    uid                 text NOT NULL,
    -- Whose work it is: results are counted for this peer and go where its results go.
    ae_title            text NOT NULL,
    state               text NOT NULL DEFAULT 'SCHEDULED' CHECK (state IN ('SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'CANCELED')),
    transaction_uid     text,
    attributes          jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'), -- DICOM JSON
    is_ours             boolean NOT NULL, -- we perform it, unless somebody else claims it first
    performed_here      boolean NOT NULL DEFAULT false,
    study_instance_uid  text, -- of its first input
    study_id            uuid REFERENCES study,
    work_source         text, -- the other system's worklist that it was claimed from; null where it was created here
    told                jsonb, -- what that system was told last
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    claimed_at          timestamptz,
    PRIMARY KEY (tenant, uid),
    CHECK ((state = 'IN PROGRESS') <= (transaction_uid IS NOT NULL))
);
CREATE INDEX workitem_listed ON workitem (tenant, state, created_at);
CREATE INDEX workitem_of_study ON workitem (tenant, study_instance_uid) WHERE state = 'IN PROGRESS' AND performed_here;

-- Who is told what happens to a workitem; uid is null for all of the tenant's.
CREATE TABLE workitem_subscription (
    tenant         text NOT NULL REFERENCES tenant,
    ae_title       text NOT NULL,
    uid            text,
    filter         jsonb NOT NULL DEFAULT '[]'::jsonb, -- pairs of a search, of a subscription to all that match
    deletion_lock  boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (tenant, ae_title, uid)
);

-- Events that wait until their subscriber opens its channel.
CREATE TABLE workitem_notice (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant    text NOT NULL REFERENCES tenant,
    ae_title  text NOT NULL,
    uid       text NOT NULL,
    kind      smallint NOT NULL,
    said      jsonb NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX workitem_notice_waiting ON workitem_notice (tenant, ae_title, id);

-- Worklists of other systems that we take work from.
CREATE TABLE work_source (
    tenant        text NOT NULL REFERENCES tenant,
    name          text NOT NULL CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$'),
    url           text NOT NULL CHECK (url ~ '^https?://' AND length(url) <= 1000), -- DICOMweb root, /workitems is added
    token_file    text CHECK (token_file ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'), -- in the folder of secrets
    ae_title      text NOT NULL,
    station_code  text NOT NULL CHECK (length(station_code) BETWEEN 1 AND 16),
    enabled       boolean NOT NULL DEFAULT true,
    last_error    text,
    asked_at      timestamptz,
    PRIMARY KEY (tenant, name),
    FOREIGN KEY (tenant, ae_title) REFERENCES peer (tenant, ae_title)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['workitem', 'workitem_subscription', 'workitem_notice', 'work_source']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

-- Where a result is among the instances of its study: a workitem names it by these.
ALTER TABLE result_object ADD COLUMN series_instance_uid text, ADD COLUMN sop_class_uid text;

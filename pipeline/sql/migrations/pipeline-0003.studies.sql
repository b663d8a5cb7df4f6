-- depends: pipeline-0002.queue

CREATE TABLE tenant (
    tenant           text PRIMARY KEY CHECK (tenant ~ '^[a-z0-9][a-z0-9_-]{0,40}$'),
    name             text NOT NULL,
    called_ae_title  text NOT NULL UNIQUE CHECK (length(called_ae_title) BETWEEN 1 AND 16),
    -- the key of the case tokens that billing sees instead of study UIDs; the hospital holds it
    case_key_secret  bytea NOT NULL DEFAULT (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')),
    language         text NOT NULL DEFAULT 'en' CHECK (language IN ('en', 'zh')),
    models           text[] NOT NULL DEFAULT ARRAY['lung_nodule_ct'],
    created_at       timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE portal_user (
    tenant         text NOT NULL REFERENCES tenant,
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    password_hash  text NOT NULL,
    role           text NOT NULL CHECK (role IN ('admin', 'clinician', 'finance', 'operator')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, name)
);
CREATE UNIQUE INDEX portal_user_name ON portal_user (name);

CREATE TABLE portal_session (
    tenant      text NOT NULL REFERENCES tenant,
    token_hash  bytea PRIMARY KEY,
    user_name   text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    FOREIGN KEY (tenant, user_name) REFERENCES portal_user (tenant, name) ON DELETE CASCADE
);

CREATE TABLE api_key (
    tenant      text NOT NULL REFERENCES tenant,
    prefix      text PRIMARY KEY,
    key_hash    bytea NOT NULL,
    label       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);

CREATE TABLE peer (
    tenant              text NOT NULL REFERENCES tenant,
    ae_title            text NOT NULL CHECK (length(ae_title) BETWEEN 1 AND 16),
    host                text NOT NULL,
    port                integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    quiet_time_s        double precision NOT NULL DEFAULT 10 CHECK (quiet_time_s BETWEEN 0.1 AND 3600),
    result_destination  text, -- AE title of another peer; null = back to the sender
    check_host          boolean NOT NULL DEFAULT false, -- accept associations only from `host`
    is_test             boolean NOT NULL DEFAULT false, -- results are recorded, never billed
    enabled             boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant, ae_title)
);

CREATE TABLE association (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text NOT NULL REFERENCES tenant,
    ae_title     text NOT NULL,
    opened_at    timestamptz NOT NULL DEFAULT now(),
    closed_at    timestamptz,
    how          text
);

CREATE TABLE study (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant              text NOT NULL REFERENCES tenant,
    study_instance_uid  text NOT NULL,
    ae_title            text NOT NULL,
    status              text NOT NULL DEFAULT 'receiving',
    revision            integer NOT NULL DEFAULT 1,
    reason_code         text,
    reason_text         text,
    -- header values of the source, for the work list and the report: patient data, kept out of billing, logs and metrics
    header              jsonb NOT NULL DEFAULT '{}',
    route               jsonb NOT NULL DEFAULT '[]',
    completion          text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, study_instance_uid),
    CHECK (status IN ('receiving', 'assembled', 'routed', 'decoded', 'inferred', 'encoded', 'delivered', 'rejected', 'failed')),
    CHECK ((status IN ('rejected', 'failed')) = (reason_code IS NOT NULL))
);
CREATE INDEX study_recent ON study (tenant, created_at DESC);

-- What came in for a study between two silences.
CREATE TABLE arrival (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant           text NOT NULL REFERENCES tenant,
    study_id         uuid NOT NULL REFERENCES study,
    ae_title         text NOT NULL,
    association_id   bigint REFERENCES association,
    first_at         timestamptz NOT NULL DEFAULT now(),
    last_at          timestamptz NOT NULL DEFAULT now(),
    new_count        integer NOT NULL DEFAULT 0,
    identical_count  integer NOT NULL DEFAULT 0,
    conflict_count   integer NOT NULL DEFAULT 0,
    closed_at        timestamptz,
    outcome          text CHECK (outcome IN ('assembled', 'seen_again', 'waiting')),
    completion       text
);
CREATE UNIQUE INDEX arrival_open ON arrival (tenant, study_id) WHERE closed_at IS NULL;
CREATE INDEX arrival_of_study ON arrival (study_id);

CREATE TABLE instance (
    tenant               text NOT NULL REFERENCES tenant,
    sop_instance_uid     text NOT NULL,
    study_id             uuid NOT NULL REFERENCES study,
    series_instance_uid  text NOT NULL,
    sop_class_uid        text NOT NULL,
    transfer_syntax_uid  text NOT NULL,
    modality             text NOT NULL,
    location             text NOT NULL,
    sha256               text NOT NULL,
    size_bytes           bigint NOT NULL,
    arrival_id           bigint NOT NULL REFERENCES arrival,
    received_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, sop_instance_uid)
);
CREATE INDEX instance_of_study ON instance (study_id);

-- Other bytes under a SOP Instance UID that was already taken: kept aside, never used.
CREATE TABLE quarantined_instance (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant            text NOT NULL REFERENCES tenant,
    study_id          uuid REFERENCES study,
    sop_instance_uid  text NOT NULL,
    location          text NOT NULL,
    sha256            text NOT NULL,
    reason            text NOT NULL,
    received_at       timestamptz NOT NULL DEFAULT now()
);

-- One line for each thing that happened to a study: the timeline.
CREATE TABLE study_event (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       text NOT NULL REFERENCES tenant,
    study_id     uuid NOT NULL REFERENCES study,
    revision     integer NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    event        text NOT NULL,
    duration_ms  integer,
    detail       jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX study_event_of_study ON study_event (study_id, id);

CREATE TABLE result (
    tenant          text NOT NULL REFERENCES tenant,
    study_id        uuid NOT NULL REFERENCES study,
    revision        integer NOT NULL,
    product         text NOT NULL,
    model_name      text NOT NULL,
    model_version   text NOT NULL,
    weights_sha256  text NOT NULL,
    input_digest    text NOT NULL,
    findings        jsonb NOT NULL,
    timing_s        jsonb NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (study_id, revision, product)
);

CREATE TABLE result_object (
    tenant            text NOT NULL REFERENCES tenant,
    sop_instance_uid  text NOT NULL,
    study_id          uuid NOT NULL REFERENCES study,
    revision          integer NOT NULL,
    product           text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('SR', 'SEG', 'PDF')),
    location          text NOT NULL,
    sha256            text NOT NULL,
    size_bytes        bigint NOT NULL,
    destination       text NOT NULL,
    attempts          integer NOT NULL DEFAULT 0,
    dicom_status      integer,
    last_error        text,
    acknowledged_at   timestamptz,
    PRIMARY KEY (tenant, sop_instance_uid)
);
CREATE INDEX result_object_of_study ON result_object (study_id, revision);

-- Row-level security: a tenant sees only its own.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tenant', 'portal_user', 'portal_session', 'api_key', 'peer', 'association', 'study',
        'arrival', 'instance', 'quarantined_instance', 'study_event', 'result', 'result_object']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO radmeter_app;
REVOKE INSERT, UPDATE, DELETE ON tenant FROM radmeter_app;

-- The few questions that come before the tenant is known. Each returns the tenant, nothing wider.
CREATE FUNCTION find_peer(called text, calling text) RETURNS SETOF peer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT peer.* FROM peer JOIN tenant USING (tenant)
    WHERE tenant.called_ae_title = called AND peer.ae_title = calling AND peer.enabled
$$;
CREATE FUNCTION called_ae_title_exists(called text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT EXISTS (SELECT 1 FROM tenant WHERE called_ae_title = called)
$$;
CREATE FUNCTION find_portal_user(user_name text) RETURNS SETOF portal_user
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT * FROM portal_user WHERE name = user_name
$$;
CREATE FUNCTION find_portal_session(hash bytea) RETURNS TABLE (tenant text, user_name text, role text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT s.tenant, s.user_name, u.role, s.expires_at FROM portal_session s
    JOIN portal_user u ON u.tenant = s.tenant AND u.name = s.user_name
    WHERE s.token_hash = hash AND s.expires_at > now()
$$;
CREATE FUNCTION find_api_key(key_prefix text) RETURNS SETOF api_key
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT * FROM api_key WHERE prefix = key_prefix AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
$$;
CREATE FUNCTION count_studies_by_status() RETURNS TABLE (status text, study_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT status, count(*) FROM study GROUP BY status
$$;

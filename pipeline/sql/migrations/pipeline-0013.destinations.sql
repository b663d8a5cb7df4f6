-- depends: pipeline-0012.routing-rules

-- Where results go, by name. A peer's AE title without a row here is a destination with the defaults of this table.
CREATE TABLE destination (
    tenant               text NOT NULL REFERENCES tenant,
    name                 text NOT NULL CHECK (name ~ '^[!-~]([ -~]{0,62}[!-~])?$'),
    kind                 text NOT NULL CHECK (kind IN ('dimse', 'stow')),
    ae_title             text CHECK (length(ae_title) BETWEEN 1 AND 16),
    host                 text CHECK (length(host) BETWEEN 1 AND 253),
    port                 integer CHECK (port BETWEEN 1 AND 65535),
    url                  text CHECK (length(url) BETWEEN 1 AND 1000), -- DICOMweb service root, …/studies is added
    allow_plain_http     boolean NOT NULL DEFAULT false,
    use_tls              boolean NOT NULL DEFAULT false, -- DIMSE over TLS
    -- Names of files in the folder of secrets, never their content: PEM of the authorities that we trust, PEM of our
    -- certificate with its key, a bearer token.
    authority_file       text CHECK (authority_file ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    certificate_file     text CHECK (certificate_file ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    token_file           text CHECK (token_file ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$'),
    object_kinds         text[] NOT NULL DEFAULT ARRAY['SR', 'SEG', 'PDF', 'SC', 'KOS', 'GSPS']
                         CHECK (object_kinds <@ ARRAY['SR', 'SEG', 'PDF', 'SC', 'KOS', 'GSPS'] AND cardinality(object_kinds) > 0),
    required             boolean NOT NULL DEFAULT true, -- a study is delivered only when this destination has acknowledged
    objects_per_s        double precision CHECK (objects_per_s BETWEEN 0.01 AND 10000), -- null = as fast as it goes
    associations_max     integer NOT NULL DEFAULT 2 CHECK (associations_max BETWEEN 1 AND 64),
    response_timeout_s   double precision NOT NULL DEFAULT 120 CHECK (response_timeout_s BETWEEN 1 AND 3600),
    attempts_max         integer NOT NULL DEFAULT 500 CHECK (attempts_max BETWEEN 1 AND 100000),
    back_off_min_s       double precision NOT NULL DEFAULT 2 CHECK (back_off_min_s BETWEEN 0.1 AND 3600),
    back_off_max_s       double precision NOT NULL DEFAULT 600 CHECK (back_off_max_s BETWEEN 0.1 AND 86400),
    give_up_after_s      double precision NOT NULL DEFAULT 259200 CHECK (give_up_after_s BETWEEN 1 AND 7776000),
    confirmation         text NOT NULL DEFAULT 'none' CHECK (confirmation IN ('none', 'commitment', 'query')),
    enabled              boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant, name),
    CHECK (back_off_min_s <= back_off_max_s),
    CHECK (kind <> 'dimse' OR (ae_title IS NOT NULL AND host IS NOT NULL AND port IS NOT NULL)),
    CHECK (kind <> 'stow' OR url ~ '^https?://'),
    CHECK (kind <> 'stow' OR allow_plain_http OR url LIKE 'https://%'),
    CHECK (kind <> 'stow' OR confirmation <> 'commitment')
);

-- One object on its way to one destination. `destination` is text and no reference: an AE title, or a name of the
-- past that the history still shows.
CREATE TABLE delivery (
    tenant            text NOT NULL REFERENCES tenant,
    sop_instance_uid  text NOT NULL,
    destination       text NOT NULL,
    study_id          uuid NOT NULL REFERENCES study,
    required          boolean NOT NULL DEFAULT true,
    -- refused: the destination said no and asking again is useless; dead: given up after attempts or time
    state             text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'acknowledged', 'confirmed', 'refused', 'dead')),
    attempts          integer NOT NULL DEFAULT 0,
    next_at           timestamptz NOT NULL DEFAULT now(),
    waiting_since     timestamptz NOT NULL DEFAULT now(),
    dicom_status      integer,
    last_error        text,
    warning           text, -- stored, but not as it was sent; or acknowledged, and not confirmed
    acknowledged_at   timestamptz,
    confirmed_at      timestamptz,
    confirmed_by      text,
    PRIMARY KEY (tenant, sop_instance_uid, destination),
    FOREIGN KEY (tenant, sop_instance_uid) REFERENCES result_object,
    CHECK ((state IN ('acknowledged', 'confirmed')) = (acknowledged_at IS NOT NULL)),
    CHECK ((state = 'confirmed') = (confirmed_at IS NOT NULL))
);
CREATE INDEX delivery_of_study ON delivery (study_id);
CREATE INDEX delivery_open ON delivery (tenant, destination, next_at) WHERE state = 'waiting';
CREATE INDEX delivery_given_up ON delivery (tenant) WHERE state IN ('refused', 'dead');

-- What was sent by earlier versions. The owner of the tables may be no superuser, whom forced policies would hide all rows.
ALTER TABLE result_object NO FORCE ROW LEVEL SECURITY;
INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, attempts, dicom_status, last_error,
                      acknowledged_at)
SELECT tenant, sop_instance_uid, destination, study_id,
       CASE WHEN acknowledged_at IS NULL THEN 'waiting' ELSE 'acknowledged' END, attempts, dicom_status, last_error,
       acknowledged_at
FROM result_object;
ALTER TABLE result_object FORCE ROW LEVEL SECURITY;
ALTER TABLE result_object DROP COLUMN destination, DROP COLUMN attempts, DROP COLUMN dicom_status,
    DROP COLUMN last_error, DROP COLUMN acknowledged_at;
ALTER TABLE result_object DROP CONSTRAINT result_object_kind_check,
    ADD CONSTRAINT result_object_kind_check CHECK (kind IN ('SR', 'SEG', 'PDF', 'SC', 'KOS', 'GSPS'));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['destination', 'delivery']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;
-- Counted over all tenants for the metrics; the owner of the function must see the rows.
ALTER TABLE delivery NO FORCE ROW LEVEL SECURITY;
CREATE FUNCTION count_deliveries_by_state() RETURNS TABLE (state text, delivery_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT state, count(*) FROM delivery GROUP BY state
$$;

-- depends: pipeline-0008.services

-- Where a peer's studies can be asked for: itself, or the archive behind it. Empty = the peer's own AE title and address.
ALTER TABLE peer
    ADD COLUMN query_kind      text NOT NULL DEFAULT 'none' CHECK (query_kind IN ('none', 'dimse', 'dicomweb')),
    ADD COLUMN query_ae_title  text CHECK (length(query_ae_title) BETWEEN 1 AND 16),
    ADD COLUMN query_host      text,
    ADD COLUMN query_port      integer CHECK (query_port BETWEEN 1 AND 65535),
    ADD COLUMN query_url       text,
    ADD COLUMN query_username  text,
    ADD COLUMN query_secret    text, -- password of Basic, token of Bearer; never shown
    ADD COLUMN query_retrieve  text NOT NULL DEFAULT 'move' CHECK (query_retrieve IN ('move', 'get')),
    ADD CHECK (query_kind <> 'dicomweb' OR query_url IS NOT NULL);

-- How many instances the archive has, for each series; '' = of the whole study, where it does not say more.
CREATE TABLE archive_count (
    tenant               text NOT NULL REFERENCES tenant,
    study_id             uuid NOT NULL REFERENCES study,
    series_instance_uid  text NOT NULL,
    instance_count       integer NOT NULL CHECK (instance_count >= 0),
    source               text NOT NULL CHECK (source IN ('c-find', 'qido')),
    asked_at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, study_id, series_instance_uid)
);

-- What became of the last question, so that a page can say why there are no counts.
CREATE TABLE archive_question (
    tenant    text NOT NULL REFERENCES tenant,
    study_id  uuid NOT NULL REFERENCES study,
    state     text NOT NULL CHECK (state IN ('answered', 'unknown_study', 'no_answer', 'no_archive')),
    reason    text,
    source    text CHECK (source IN ('c-find', 'qido')),
    attempts  integer NOT NULL DEFAULT 1,
    asked_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, study_id),
    CHECK ((state = 'no_answer') = (reason IS NOT NULL))
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['archive_count', 'archive_question']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_tenant ON %I USING (tenant = current_setting(''radmeter.tenant'', true)) '
            'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', name);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO radmeter_app', name);
    END LOOP;
END
$$;

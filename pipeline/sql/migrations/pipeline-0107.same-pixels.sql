-- depends: pipeline-0007.peers-and-audit

-- What each decoded series looks like, so that the same pixels under new UIDs are noticed.
CREATE TABLE decoded_series (
    tenant               text NOT NULL REFERENCES tenant,
    study_id             uuid NOT NULL REFERENCES study,
    revision             integer NOT NULL,
    series_instance_uid  text NOT NULL,
    pixel_digest         text NOT NULL, -- BLAKE3 of shape and voxels
    PRIMARY KEY (study_id, revision, series_instance_uid)
);
CREATE INDEX decoded_series_pixels ON decoded_series (tenant, pixel_digest);
ALTER TABLE decoded_series ENABLE ROW LEVEL SECURITY;
ALTER TABLE decoded_series FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON decoded_series USING (tenant = current_setting('radmeter.tenant', true))
    WITH CHECK (tenant = current_setting('radmeter.tenant', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON decoded_series TO radmeter_app;

-- depends: pipeline-0230.usage-keys pipeline-0690.room
-- phase: expand

-- What of a key's requests is left, and which of them are being answered: shared by all portal processes. Unlogged: a
-- request costs no write to disk, and after a crash of the database every key begins with a full minute.
CREATE UNLOGGED TABLE api_key_use (
    tenant         text NOT NULL CHECK (tenant <> ''),
    prefix         text PRIMARY KEY REFERENCES api_key ON DELETE CASCADE,
    requests_left  double precision NOT NULL,
    counted_at     timestamptz NOT NULL,
    running        timestamptz[] NOT NULL -- until when each holds its place at most
) WITH (fillfactor = 50); -- each change finds room beside what it replaces
ALTER TABLE api_key_use ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_key_use FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON api_key_use USING (tenant = current_setting('radmeter.tenant', true))
    WITH CHECK (tenant = current_setting('radmeter.tenant', true));
CREATE INDEX api_key_use_of_tenant ON api_key_use (tenant);
GRANT SELECT, INSERT, UPDATE, DELETE ON api_key_use TO radmeter_app;

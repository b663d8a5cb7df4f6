-- depends: pipeline-0008.services

ALTER TABLE peer
    ADD COLUMN hosts text[] NOT NULL DEFAULT '{}',         -- it may come from these addresses, networks, names; {} = any
    ADD COLUMN certificates text[] NOT NULL DEFAULT '{}',  -- it must prove one of these; {} = none is asked for
    ADD COLUMN modalities text[] NOT NULL DEFAULT '{}',    -- what it may send; {} = all
    ADD COLUMN sop_classes text[] NOT NULL DEFAULT '{}',
    ADD COLUMN duplicate_policy text NOT NULL DEFAULT 'failure' CHECK (duplicate_policy IN ('failure', 'warning'));

-- What concerns security, append-only and chained over all tenants: each hash covers the row and the hash before it.
CREATE TABLE audit_event (
    sequence       bigint PRIMARY KEY,
    tenant         text REFERENCES tenant, -- null = not known: a called AE title or a user name that is nobody's
    at             timestamptz NOT NULL,
    event          text NOT NULL, -- PS3.15 annex A.5
    action         text NOT NULL, -- our name for it
    outcome        integer NOT NULL CHECK (outcome IN (0, 4, 8, 12)), -- success, minor, serious, major failure
    detail         json NOT NULL, -- json, not jsonb: the text is hashed as it is
    previous_hash  bytea NOT NULL CHECK (length(previous_hash) = 32),
    hash           bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX audit_event_of_tenant ON audit_event (tenant, sequence DESC);

-- The end of the chain, so that rows missing from the end show too. One row.
CREATE TABLE audit_head (
    is_the_one  boolean PRIMARY KEY DEFAULT true CHECK (is_the_one),
    sequence    bigint NOT NULL,
    hash        bytea NOT NULL
);
INSERT INTO audit_head (sequence, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- The owner reads and appends for everybody; radmeter_app reads its tenant's rows and appends by the function only.
ALTER TABLE audit_event ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON audit_event USING (tenant = current_setting('radmeter.tenant', true));
GRANT SELECT ON audit_event TO radmeter_app;

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_event FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER never_truncated BEFORE TRUNCATE ON audit_event EXECUTE FUNCTION refuse_audit_change();

CREATE FUNCTION append_audit_event(p_tenant text, p_event text, p_action text, p_outcome integer, p_detail text)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_head    audit_head%ROWTYPE;
    v_tenant  text := p_tenant;
    v_at      timestamptz;
    v_hash    bytea;
    v_own     text := nullif(current_setting('radmeter.tenant', true), '');
BEGIN
    IF v_own IS DISTINCT FROM p_tenant AND v_own IS NOT NULL AND current_setting('role') = 'radmeter_app' THEN
        RAISE EXCEPTION 'an audit event of another tenant';
    END IF;
    -- Where there is one tenant only, what is nobody's is its business.
    IF v_tenant IS NULL AND (SELECT count(*) FROM tenant) = 1 THEN
        SELECT t.tenant INTO v_tenant FROM tenant t;
    END IF;
    SELECT * INTO v_head FROM audit_head FOR UPDATE;
    v_at := clock_timestamp();
    v_hash := sha256(convert_to(concat_ws(E'\n', v_head.sequence + 1, coalesce(v_tenant, ''),
        to_char(v_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), p_event, p_action, p_outcome, p_detail,
        encode(v_head.hash, 'hex')), 'UTF8'));
    INSERT INTO audit_event VALUES (v_head.sequence + 1, v_tenant, v_at, p_event, p_action, p_outcome, p_detail::json,
        v_head.hash, v_hash);
    UPDATE audit_head SET sequence = v_head.sequence + 1, hash = v_hash;
    RETURN v_head.sequence + 1;
END
$$;
REVOKE EXECUTE ON FUNCTION append_audit_event FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_audit_event TO radmeter_app;

-- Whose a refused association would have been.
CREATE FUNCTION tenant_of_called(called text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT tenant FROM tenant WHERE called_ae_title = called
$$;

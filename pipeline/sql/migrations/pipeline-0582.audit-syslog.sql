-- depends: pipeline-0581.sign-in

-- How far the audit trail has been sent to a syslog server.
CREATE TABLE audit_sent (
    address   text PRIMARY KEY,
    sequence  bigint NOT NULL,
    sent_at   timestamptz NOT NULL
);
ALTER TABLE audit_sent ENABLE ROW LEVEL SECURITY; -- no policy: radmeter_app asks by the functions alone

-- The next events after those that were sent, oldest first; none while another process sends. A server that is new is
-- told from now on. The trail is of all tenants, so is its copy; of a study it learns the UID and nothing of the patient.
CREATE FUNCTION unsent_audit_events(p_address text, p_limit integer) RETURNS TABLE (
    sequence bigint, tenant text, at timestamptz, event text, action text, outcome integer, detail text, hash bytea,
    study text, study_instance_uid text
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    v_after  bigint;
BEGIN
    INSERT INTO audit_sent SELECT p_address, h.sequence, now() FROM audit_head h ON CONFLICT DO NOTHING;
    SELECT s.sequence INTO v_after FROM audit_sent s WHERE s.address = p_address FOR UPDATE SKIP LOCKED;
    RETURN QUERY
        SELECT e.sequence, e.tenant, e.at, e.event, e.action, e.outcome, e.detail::text, e.hash,
               s.id::text, s.study_instance_uid
        FROM audit_event e LEFT JOIN study s ON s.tenant = e.tenant AND s.id::text = e.detail->>'study'
        WHERE e.sequence > v_after ORDER BY e.sequence LIMIT p_limit;
END
$$;
CREATE FUNCTION note_audit_sent(p_address text, p_sequence bigint, p_at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public AS $$
    UPDATE audit_sent SET sequence = p_sequence, sent_at = p_at WHERE address = p_address
$$;
REVOKE EXECUTE ON FUNCTION unsent_audit_events, note_audit_sent FROM PUBLIC;
GRANT EXECUTE ON FUNCTION unsent_audit_events, note_audit_sent TO radmeter_app;

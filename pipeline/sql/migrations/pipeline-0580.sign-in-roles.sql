-- depends: pipeline-0500.object-kinds pipeline-0310.money-roles

-- Who judges images is a radiologist; a referrer, who sent the patient, reads finished reports only.
ALTER TABLE portal_user DROP CONSTRAINT portal_user_role_check;
UPDATE portal_user SET role = 'radiologist' WHERE role = 'clinician';
ALTER TABLE portal_user ADD CONSTRAINT portal_user_role_check CHECK (
    role IN ('admin', 'approver', 'auditor', 'finance', 'hospital', 'operator', 'radiologist', 'referrer', 'vendor')
);

-- Several events in one statement: the chain is locked once, for as long as they take to write.
-- p_events: [{"tenant", "event", "action", "outcome", "detail"}], detail being the text that is hashed.
CREATE FUNCTION append_audit_events(p_events json) RETURNS bigint
LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    v_last  bigint;
    v_one   json;
BEGIN
    FOR v_one IN SELECT * FROM json_array_elements(p_events) LOOP
        v_last := append_audit_event(v_one->>'tenant', v_one->>'event', v_one->>'action',
            (v_one->>'outcome')::integer, v_one->>'detail');
    END LOOP;
    RETURN v_last;
END
$$;
REVOKE EXECUTE ON FUNCTION append_audit_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append_audit_events TO radmeter_app;

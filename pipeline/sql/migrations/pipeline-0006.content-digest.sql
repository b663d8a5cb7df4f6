-- depends: pipeline-0005.ordinary-owner

-- The digest of a received data set is BLAKE3, which costs a fifth of SHA-256. Digests made before say so: the same bytes
-- sent again cannot be compared with them and go to quarantine, which loses nothing.
ALTER TABLE instance RENAME COLUMN sha256 TO blake3;
ALTER TABLE quarantined_instance RENAME COLUMN sha256 TO blake3;
ALTER TABLE instance NO FORCE ROW LEVEL SECURITY; -- for an owner that is no superuser
ALTER TABLE quarantined_instance NO FORCE ROW LEVEL SECURITY;
UPDATE instance SET blake3 = 'sha256:' || blake3;
UPDATE quarantined_instance SET blake3 = 'sha256:' || blake3;
ALTER TABLE instance FORCE ROW LEVEL SECURITY;
ALTER TABLE quarantined_instance FORCE ROW LEVEL SECURITY;

-- One received instance in one round trip: its study, the open arrival, the row, what the sender is told.
-- The caller's transaction holds the lock on the arrival, so a closing arrival and a late instance cannot miss each other.
DROP FUNCTION record_instance;
CREATE FUNCTION record_instance(
    p_tenant text, p_association_id bigint, p_ae_title text,
    p_study_uid text, p_series_uid text, p_sop_uid text, p_sop_class_uid text, p_transfer_syntax_uid text,
    p_modality text, p_location text, p_blake3 text, p_size_bytes bigint
) RETURNS TABLE (outcome text, recorded_study_id uuid, recorded_arrival_id bigint, is_new_arrival boolean)
LANGUAGE plpgsql AS $$
DECLARE
    v_study_id    uuid;
    v_arrival_id  bigint;
    v_new_arrival boolean := false;
    v_outcome     text := 'stored';
    v_known       instance%ROWTYPE;
BEGIN
    -- Our own result, sent back by a PACS that forwards what it stores: known, no work.
    IF EXISTS (SELECT 1 FROM result_object r WHERE r.tenant = p_tenant AND r.sop_instance_uid = p_sop_uid) THEN
        RETURN QUERY SELECT 'identical'::text, NULL::uuid, NULL::bigint, false;
        RETURN;
    END IF;

    SELECT s.id INTO v_study_id FROM study s WHERE s.tenant = p_tenant AND s.study_instance_uid = p_study_uid;
    IF v_study_id IS NULL THEN
        INSERT INTO study (tenant, study_instance_uid, ae_title) VALUES (p_tenant, p_study_uid, p_ae_title)
        ON CONFLICT (tenant, study_instance_uid) DO NOTHING;
        SELECT s.id INTO v_study_id FROM study s WHERE s.tenant = p_tenant AND s.study_instance_uid = p_study_uid;
    END IF;

    LOOP
        SELECT a.id INTO v_arrival_id FROM arrival a
        WHERE a.tenant = p_tenant AND a.study_id = v_study_id AND a.closed_at IS NULL FOR UPDATE;
        EXIT WHEN v_arrival_id IS NOT NULL;
        INSERT INTO arrival (tenant, study_id, ae_title, association_id)
        VALUES (p_tenant, v_study_id, p_ae_title, p_association_id)
        ON CONFLICT (tenant, study_id) WHERE closed_at IS NULL DO NOTHING RETURNING id INTO v_arrival_id;
        v_new_arrival := v_arrival_id IS NOT NULL;
        EXIT WHEN v_new_arrival;
    END LOOP;

    INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid, sop_class_uid, transfer_syntax_uid,
                          modality, location, blake3, size_bytes, arrival_id)
    VALUES (p_tenant, p_sop_uid, v_study_id, p_series_uid, p_sop_class_uid, p_transfer_syntax_uid,
            p_modality, p_location, p_blake3, p_size_bytes, v_arrival_id)
    ON CONFLICT (tenant, sop_instance_uid) DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO v_known FROM instance i WHERE i.tenant = p_tenant AND i.sop_instance_uid = p_sop_uid;
        IF v_known.blake3 = p_blake3 AND v_known.study_id = v_study_id THEN
            v_outcome := 'identical';
        ELSE
            v_outcome := 'conflict';
        END IF;
    END IF;

    UPDATE arrival a SET last_at = clock_timestamp(), association_id = p_association_id,
        new_count = a.new_count + (v_outcome = 'stored')::int,
        identical_count = a.identical_count + (v_outcome = 'identical')::int,
        conflict_count = a.conflict_count + (v_outcome = 'conflict')::int
    WHERE a.id = v_arrival_id;

    RETURN QUERY SELECT v_outcome, v_study_id, v_arrival_id, v_new_arrival;
END
$$;

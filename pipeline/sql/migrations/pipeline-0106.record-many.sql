-- depends: pipeline-0006.content-digest

-- The instances that several associations of a tenant have ready at the same moment, in one statement and so in one commit.
-- Done here is the common case: a study whose arrival is open, and an instance that is new or that came before with the
-- same bytes. Of every other one nothing is recorded and nothing is returned: `record_instance` takes it by itself.
-- Arrivals are locked in the order of their ids, so that two processes never wait for one another.
CREATE FUNCTION record_instances(
    p_tenant text, p_association_ids bigint[], p_study_uids text[], p_series_uids text[], p_sop_uids text[],
    p_sop_class_uids text[], p_transfer_syntax_uids text[], p_modalities text[], p_locations text[], p_blake3s text[],
    p_sizes_bytes bigint[]
) RETURNS TABLE (recorded_sop_uid text, outcome text)
LANGUAGE plpgsql AS $$
DECLARE
    v_open   bigint[];
    v_stored text[];
BEGIN
    PERFORM set_config('radmeter.tenant', p_tenant, true);

    SELECT array_agg(id) INTO v_open FROM (
        SELECT a.id FROM arrival a JOIN study s ON s.id = a.study_id
        WHERE s.tenant = p_tenant AND s.study_instance_uid = ANY (p_study_uids)
          AND a.tenant = p_tenant AND a.closed_at IS NULL
        ORDER BY a.id FOR UPDATE OF a
    ) locked;
    IF v_open IS NULL THEN
        RETURN;
    END IF;

    -- A new statement: it sees what those who held the locks before us have committed.
    WITH given AS (
        SELECT * FROM unnest(p_association_ids, p_study_uids, p_series_uids, p_sop_uids, p_sop_class_uids,
            p_transfer_syntax_uids, p_modalities, p_locations, p_blake3s, p_sizes_bytes) AS one (association_id, study_uid,
            series_uid, sop_uid, sop_class_uid, transfer_syntax_uid, modality, location, blake3, size_bytes)
    ), placed AS (
        SELECT g.*, s.id AS study_id, a.id AS arrival_id
        FROM given g
        JOIN study s ON s.tenant = p_tenant AND s.study_instance_uid = g.study_uid
        JOIN arrival a ON a.tenant = p_tenant AND a.study_id = s.id AND a.id = ANY (v_open)
        -- Our own result, sent back: known, no work.
        WHERE NOT EXISTS (SELECT 1 FROM result_object r WHERE r.tenant = p_tenant AND r.sop_instance_uid = g.sop_uid)
    ), stored AS (
        INSERT INTO instance (tenant, sop_instance_uid, study_id, series_instance_uid, sop_class_uid, transfer_syntax_uid,
                              modality, location, blake3, size_bytes, arrival_id)
        SELECT p_tenant, sop_uid, study_id, series_uid, sop_class_uid, transfer_syntax_uid,
               modality, location, blake3, size_bytes, arrival_id
        FROM placed ORDER BY sop_uid
        ON CONFLICT (tenant, sop_instance_uid) DO NOTHING
        RETURNING sop_instance_uid
    ), counted AS (
        UPDATE arrival a SET last_at = clock_timestamp(), association_id = p.association_id, new_count = a.new_count + p.count
        FROM (SELECT arrival_id, max(association_id) AS association_id, count(*) FROM placed
              WHERE sop_uid IN (SELECT sop_instance_uid FROM stored) GROUP BY arrival_id) p
        WHERE a.id = p.arrival_id
    )
    SELECT array_agg(sop_instance_uid) INTO v_stored FROM stored;
    RETURN QUERY SELECT unnest(v_stored), 'stored'::text;

    IF cardinality(v_stored) = cardinality(p_sop_uids) THEN
        RETURN;
    END IF;
    RETURN QUERY WITH same AS (
        SELECT i.sop_instance_uid, a.id AS arrival_id, g.association_id
        FROM unnest(p_association_ids, p_study_uids, p_sop_uids, p_blake3s) AS g (association_id, study_uid, sop_uid, blake3)
        JOIN study s ON s.tenant = p_tenant AND s.study_instance_uid = g.study_uid
        JOIN arrival a ON a.tenant = p_tenant AND a.study_id = s.id AND a.id = ANY (v_open)
        JOIN instance i ON i.tenant = p_tenant AND i.sop_instance_uid = g.sop_uid
        WHERE i.blake3 = g.blake3 AND i.study_id = s.id AND g.sop_uid <> ALL (coalesce(v_stored, '{}'))
    ), counted AS (
        UPDATE arrival a SET last_at = clock_timestamp(), association_id = p.association_id,
            identical_count = a.identical_count + p.count
        FROM (SELECT arrival_id, max(association_id) AS association_id, count(*) FROM same GROUP BY arrival_id) p
        WHERE a.id = p.arrival_id
    )
    SELECT sop_instance_uid, 'identical'::text FROM same;
END
$$;

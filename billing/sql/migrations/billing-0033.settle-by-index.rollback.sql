CREATE OR REPLACE FUNCTION billing.settle_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM added a LEFT JOIN billing.event_decision before
            ON before.tenant = a.tenant AND before.ingest_sequence = a.ingest_sequence
            AND before.revision = a.revision - 1
        WHERE a.revision > 1 AND NOT coalesce(
            before.outcome = 'quarantined' OR (
                (before.contract_id, before.case_key) IS NOT DISTINCT FROM (a.contract_id, a.case_key) AND (
                    (a.outcome = 'not_billable' AND a.reason_code = 'voided' AND before.reason_code <> 'voided')
                    OR ((a.outcome = 'billable' OR a.reason_code = 'prepaid') AND before.reason_code = 'already_charged')
                )
            ), false)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'an event is decided again when it was quarantined, is voided, or takes the place of a voided one';
    END IF;
    IF EXISTS (SELECT 1 FROM added a WHERE a.revision > 1) THEN
        UPDATE billing.case_claim c SET ingest_sequence = NULL FROM added a
        WHERE c.tenant = a.tenant AND c.contract_id = a.contract_id AND c.case_key = a.case_key
          AND c.ingest_sequence = a.ingest_sequence AND a.revision > 1 AND a.outcome <> 'billable' AND a.reason_code <> 'prepaid';
    END IF;
    IF EXISTS (
        SELECT 1 FROM added a WHERE (a.outcome = 'billable' OR a.reason_code = 'prepaid') AND NOT EXISTS (
            SELECT 1 FROM billing.case_claim c WHERE c.tenant = a.tenant AND c.contract_id = a.contract_id
            AND c.case_key = a.case_key AND c.ingest_sequence = a.ingest_sequence
        )
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = 'one_billable_decision_per_case: another event holds the case';
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION billing.settle_decisions() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    again record;
BEGIN
    FOR again IN SELECT * FROM added a WHERE a.revision > 1 LOOP
        IF NOT coalesce((
            SELECT before.outcome = 'quarantined' OR (
                (before.contract_id, before.case_key) IS NOT DISTINCT FROM (again.contract_id, again.case_key) AND (
                    (again.outcome = 'not_billable' AND again.reason_code = 'voided' AND before.reason_code <> 'voided')
                    OR ((again.outcome = 'billable' OR again.reason_code = 'prepaid')
                        AND before.reason_code = 'already_charged')
                )
            ) FROM billing.event_decision before
            WHERE before.tenant = again.tenant AND before.ingest_sequence = again.ingest_sequence
              AND before.revision = again.revision - 1
        ), false) THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                MESSAGE = 'an event is decided again when it was quarantined, is voided, or takes the place of a voided one';
        END IF;
        IF again.outcome <> 'billable' AND again.reason_code <> 'prepaid' THEN
            UPDATE billing.case_claim c SET ingest_sequence = NULL
            WHERE c.tenant = again.tenant AND c.contract_id = again.contract_id AND c.case_key = again.case_key
              AND c.ingest_sequence = again.ingest_sequence;
        END IF;
    END LOOP;
    IF EXISTS (
        SELECT 1 FROM added a WHERE (a.outcome = 'billable' OR a.reason_code = 'prepaid') AND (
            -- a subquery, not a join: it is looked up by its key for each row
            SELECT c.ingest_sequence FROM billing.case_claim c
            WHERE c.tenant = a.tenant AND c.contract_id = a.contract_id AND c.case_key = a.case_key
        ) IS DISTINCT FROM a.ingest_sequence
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation',
            MESSAGE = 'one_billable_decision_per_case: another event holds the case';
    END IF;
    RETURN NULL;
END
$$;

ALTER TABLE billing.event_decision
    ADD FOREIGN KEY (tenant, ingest_sequence, kind) REFERENCES billing.usage_event (tenant, ingest_sequence, kind),
    ADD FOREIGN KEY (tenant, contract_id, contract_version)
        REFERENCES billing.contract_version (tenant, contract_id, version);
CREATE INDEX event_decision_of_case ON billing.event_decision (tenant, case_key) WHERE outcome = 'billable';

-- depends: billing-0081.usage-days
-- phase: expand
-- What a decision refers to is looked up once for all rows of a statement; a foreign key ran a query of its own and locked
-- what it found for each row. Events and versions are never changed nor deleted, so that what was found stays.
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
        -- subqueries, no joins: each row is looked up by its key
        SELECT 1 FROM added a WHERE (
            SELECT 1 FROM billing.usage_event e
            WHERE e.tenant = a.tenant AND e.ingest_sequence = a.ingest_sequence AND e.kind = a.kind
        ) IS NULL
    ) OR EXISTS (
        SELECT 1 FROM (
            SELECT DISTINCT a.tenant, a.contract_id, a.contract_version FROM added a
            WHERE a.contract_id IS NOT NULL AND a.contract_version IS NOT NULL
        ) priced WHERE (
            SELECT 1 FROM billing.contract_version v
            WHERE v.tenant = priced.tenant AND v.contract_id = priced.contract_id AND v.version = priced.contract_version
        ) IS NULL
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = 'a decision is about an event, of the kind that it has, and by a version of a contract that there is';
    END IF;
    IF EXISTS (
        SELECT 1 FROM added a WHERE (a.outcome = 'billable' OR a.reason_code = 'prepaid') AND (
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
    DROP CONSTRAINT event_decision_tenant_ingest_sequence_kind_fkey,
    DROP CONSTRAINT event_decision_tenant_contract_id_contract_version_fkey;

-- A case is found by its claim. Keys of cases are random: each row went to another page of this index.
DROP INDEX billing.event_decision_of_case;

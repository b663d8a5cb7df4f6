-- depends: billing-0030.meters
-- An event can be declared void after it was decided, also after it was billed.

-- Which event a case is charged for, or was taken from a prepaid package for: one row for each contract and case that
-- ever was. ingest_sequence: the event that holds the case now; null once that was voided, until another delivery of the case takes its place.
CREATE TABLE billing.case_claim (
    tenant           text NOT NULL,
    contract_id      bigint NOT NULL,
    case_key         text NOT NULL,
    ingest_sequence  bigint,
    PRIMARY KEY (tenant, contract_id, case_key)
);
-- The migration reads every tenant's rows; their owner obeys row-level security again right after.
ALTER TABLE billing.event_decision NO FORCE ROW LEVEL SECURITY;
INSERT INTO billing.case_claim (tenant, contract_id, case_key, ingest_sequence)
SELECT tenant, contract_id, case_key, ingest_sequence FROM billing.event_decision WHERE outcome = 'billable' OR reason_code = 'prepaid';
ALTER TABLE billing.event_decision FORCE ROW LEVEL SECURITY;
CALL billing.protect('case_claim', false);

CREATE FUNCTION billing.guard_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A free case is taken; a held one is freed only from within the trigger of the decision that ends it.
    IF (NEW.tenant, NEW.contract_id, NEW.case_key) IS DISTINCT FROM (OLD.tenant, OLD.contract_id, OLD.case_key)
        OR (OLD.ingest_sequence IS NOT NULL AND (NEW.ingest_sequence IS NOT NULL OR pg_trigger_depth() < 2))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a case is held until its event is void';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER held_until_void BEFORE UPDATE ON billing.case_claim
    FOR EACH ROW EXECUTE FUNCTION billing.guard_claim();

-- For the few events that are decided more than once.
CREATE INDEX event_decision_again ON billing.event_decision (tenant, ingest_sequence) WHERE revision > 1;
-- The next delivery of a case whose event was voided.
CREATE INDEX event_decision_already_charged ON billing.event_decision (tenant, contract_id, case_key)
    WHERE reason_code = 'already_charged';

DROP TRIGGER decided_once ON billing.event_decision;
DROP FUNCTION billing.require_quarantined_before();
DROP INDEX billing.one_billable_decision_per_case;

-- Once for all rows of a statement: batches are large, and most events are decided once.
CREATE FUNCTION billing.settle_decisions() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER settled AFTER INSERT ON billing.event_decision REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.settle_decisions();

-- Which statement took a voided event off again, as a correction: at most one, for ever.
CREATE TABLE billing.statement_void (
    tenant           text NOT NULL,
    ingest_sequence  bigint NOT NULL,
    statement_id     bigint NOT NULL,
    service_start    date NOT NULL,
    PRIMARY KEY (tenant, ingest_sequence),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX statement_void_of_statement ON billing.statement_void (tenant, statement_id);
CREATE TRIGGER sealed AFTER INSERT ON billing.statement_void REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_issued();
CALL billing.protect('statement_void', true);

-- What is charged now: a billable decision that no later one has taken back.
CREATE OR REPLACE VIEW billing.billable_usage WITH (security_invoker = true) AS
SELECT e.*, d.contract_id, d.contract_version, d.decision_sequence
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.outcome = 'billable' AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > 1 AND later.revision > d.revision
);

-- What statements have charged and has been voided since, and no statement has taken off yet. void_sequence: of the
-- decision that it is void.
CREATE VIEW billing.void_not_taken_off WITH (security_invoker = true) AS
SELECT d.tenant, d.ingest_sequence, d.contract_id, d.decision_sequence AS void_sequence, e.occurred_at
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.revision > 1 AND d.reason_code = 'voided'
  AND EXISTS (
    SELECT 1 FROM billing.statement_event s WHERE s.tenant = d.tenant AND s.ingest_sequence = d.ingest_sequence
  )
  AND NOT EXISTS (
    SELECT 1 FROM billing.statement_void v WHERE v.tenant = d.tenant AND v.ingest_sequence = d.ingest_sequence
  );
CREATE INDEX event_decision_voided ON billing.event_decision (tenant, contract_id) WHERE reason_code = 'voided';

GRANT SELECT ON billing.void_not_taken_off TO radmeter_app;

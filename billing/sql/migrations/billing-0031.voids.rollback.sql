DROP VIEW billing.void_not_taken_off;
CREATE OR REPLACE VIEW billing.billable_usage WITH (security_invoker = true) AS
SELECT e.*, d.contract_id, d.contract_version, d.decision_sequence
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.outcome = 'billable';
DROP TABLE billing.statement_void;
DROP TRIGGER settled ON billing.event_decision;
DROP FUNCTION billing.settle_decisions;
DROP INDEX billing.event_decision_again, billing.event_decision_already_charged, billing.event_decision_voided;
CREATE UNIQUE INDEX one_billable_decision_per_case ON billing.event_decision (tenant, contract_id, case_key)
    WHERE outcome = 'billable';
CREATE FUNCTION billing.require_quarantined_before() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_revision integer;
    last_outcome  text;
BEGIN
    SELECT d.revision, d.outcome INTO last_revision, last_outcome FROM billing.event_decision d
    WHERE d.tenant = NEW.tenant AND d.ingest_sequence = NEW.ingest_sequence ORDER BY d.revision DESC LIMIT 1;
    IF NEW.revision <> coalesce(last_revision, 0) + 1 OR coalesce(last_outcome, 'quarantined') <> 'quarantined' THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'only a quarantined event is decided again';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER decided_once BEFORE INSERT ON billing.event_decision
    FOR EACH ROW EXECUTE FUNCTION billing.require_quarantined_before();
DROP TABLE billing.case_claim;
DROP FUNCTION billing.guard_claim;

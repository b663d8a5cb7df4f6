DROP TRIGGER refers ON billing.event_decision;
DROP FUNCTION billing.require_decided_things();
ALTER TABLE billing.event_decision
    ADD FOREIGN KEY (tenant, ingest_sequence, kind) REFERENCES billing.usage_event (tenant, ingest_sequence, kind),
    ADD FOREIGN KEY (tenant, contract_id, contract_version)
        REFERENCES billing.contract_version (tenant, contract_id, version);
CREATE INDEX event_decision_of_case ON billing.event_decision (tenant, case_key) WHERE outcome = 'billable';

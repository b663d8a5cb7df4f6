DROP VIEW billing.current_usage, billing.billable_usage;
ALTER TABLE billing.contract_rate DROP CONSTRAINT contract_rate_pkey;
ALTER TABLE billing.contract_rate DROP COLUMN meter;
ALTER TABLE billing.contract_rate ADD PRIMARY KEY (tenant, contract_id, version, product);
ALTER TABLE billing.event_decision DROP CONSTRAINT only_what_happened_is_billable;
ALTER TABLE billing.event_decision ADD CONSTRAINT only_deliveries_are_billable CHECK (
    outcome <> 'billable' OR (kind = 'result_delivered' AND contract_id IS NOT NULL AND contract_version IS NOT NULL)
);
ALTER TABLE billing.usage_event DROP CONSTRAINT usage_event_kind_check, DROP CONSTRAINT meter_of_kind,
    DROP CONSTRAINT carried_amount;
ALTER TABLE billing.usage_event DROP COLUMN amount_minor, DROP COLUMN amount_currency, DROP COLUMN meter;
ALTER TABLE billing.usage_event ADD CONSTRAINT usage_event_kind_check
    CHECK (kind IN ('result_delivered', 'seen_again', 'refused', 'failed'));
CREATE VIEW billing.current_usage WITH (security_invoker = true) AS
SELECT e.*, d.decision_sequence, d.revision, d.outcome, d.reason_code, d.explanation, d.contract_id,
    d.contract_version, s.statement_id
FROM billing.usage_event e
JOIN LATERAL (
    SELECT * FROM billing.event_decision d WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
    ORDER BY d.revision DESC LIMIT 1
) d ON true
LEFT JOIN billing.statement_event s ON s.tenant = e.tenant AND s.ingest_sequence = e.ingest_sequence;
CREATE VIEW billing.billable_usage WITH (security_invoker = true) AS
SELECT e.tenant, e.ingest_sequence, e.product, e.quantity, e.occurred_at, e.payload_hash, d.contract_id,
    d.decision_sequence
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.outcome = 'billable';
GRANT SELECT ON billing.current_usage, billing.billable_usage TO radmeter_app;

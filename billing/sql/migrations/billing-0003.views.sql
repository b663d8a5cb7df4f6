-- depends: billing-0002.statements
-- Two ways of looking at usage. security_invoker: row-level security is that of whoever asks.

-- Every event with its current decision and the statement that charged it.
CREATE VIEW billing.current_usage WITH (security_invoker = true) AS
SELECT e.*, d.decision_sequence, d.revision, d.outcome, d.reason_code, d.explanation, d.contract_id,
    d.contract_version, s.statement_id
FROM billing.usage_event e
JOIN LATERAL (
    SELECT * FROM billing.event_decision d WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
    ORDER BY d.revision DESC LIMIT 1
) d ON true
LEFT JOIN billing.statement_event s ON s.tenant = e.tenant AND s.ingest_sequence = e.ingest_sequence;

-- What may be charged. A billable decision is final, so no later one can take it back.
CREATE VIEW billing.billable_usage WITH (security_invoker = true) AS
SELECT e.tenant, e.ingest_sequence, e.product, e.quantity, e.occurred_at, e.payload_hash, d.contract_id,
    d.decision_sequence
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.outcome = 'billable';

GRANT SELECT ON billing.current_usage, billing.billable_usage TO radmeter_app;

-- depends: billing-0004.books
-- Uses of things that are no studies, what became of a result, voids; amounts carried by an event; meters.

ALTER TABLE billing.usage_event DROP CONSTRAINT usage_event_kind_check;
ALTER TABLE billing.usage_event
    ADD COLUMN amount_minor bigint,
    ADD COLUMN amount_currency text,
    ADD COLUMN meter text NOT NULL DEFAULT 'result',
    ADD CONSTRAINT usage_event_kind_check CHECK (
        kind IN ('result_delivered', 'seen_again', 'refused', 'failed', 'usage', 'outcome', 'void')
    ),
    -- A use has a meter of its own, so that it never passes for a delivered result.
    ADD CONSTRAINT meter_of_kind CHECK (
        CASE kind
            WHEN 'usage' THEN meter ~ '^[a-z][a-z0-9_]{0,40}$' AND meter NOT IN ('result', 'outcome', 'void')
            WHEN 'outcome' THEN meter = 'outcome'
            WHEN 'void' THEN meter = 'void'
            ELSE meter = 'result'
        END
    ),
    ADD CONSTRAINT carried_amount CHECK (
        (amount_minor IS NULL) = (amount_currency IS NULL)
        AND coalesce(amount_minor BETWEEN -1000000000000000 AND 1000000000000000, true)
        AND coalesce(amount_currency ~ '^[A-Z]{3}$', true)
        AND (coalesce(amount_minor, 0) >= 0 OR meter = 'revenue')
    );

ALTER TABLE billing.event_decision DROP CONSTRAINT only_deliveries_are_billable;
ALTER TABLE billing.event_decision ADD CONSTRAINT only_what_happened_is_billable CHECK (
    outcome <> 'billable' OR (
        kind IN ('result_delivered', 'usage', 'outcome') AND contract_id IS NOT NULL AND contract_version IS NOT NULL
    )
);

-- meter: what the price of the product counts; results, or the uses that name this meter.
ALTER TABLE billing.contract_rate ADD COLUMN meter text NOT NULL DEFAULT 'result';
ALTER TABLE billing.contract_rate DROP CONSTRAINT contract_rate_pkey;
ALTER TABLE billing.contract_rate ADD PRIMARY KEY (tenant, contract_id, version, product, meter);

-- The same two views, with the new columns.
DROP VIEW billing.current_usage, billing.billable_usage;
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
SELECT e.*, d.contract_id, d.contract_version, d.decision_sequence
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.outcome = 'billable';

GRANT SELECT ON billing.current_usage, billing.billable_usage TO radmeter_app;

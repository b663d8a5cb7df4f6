-- depends: billing-0030.meters billing-0080.limits
-- Totals by day know the meter, the highest quantity and the carried amount, as a price may ask for them.

DROP TABLE billing.usage_day;
CREATE TABLE billing.usage_day (
    tenant           text NOT NULL CHECK (tenant <> ''),
    contract_id      bigint NOT NULL,
    day              date NOT NULL,
    product          text NOT NULL,
    meter            text NOT NULL,
    dimensions       jsonb NOT NULL,
    is_prepaid       boolean NOT NULL,
    amount_currency  text NOT NULL, -- empty: no amount was carried
    quantity         numeric NOT NULL,
    event_count      bigint NOT NULL,
    peak             numeric NOT NULL, -- stays where the event of the peak is taken back
    amount_minor     numeric NOT NULL,
    PRIMARY KEY (tenant, contract_id, day, product, meter, dimensions, is_prepaid, amount_currency),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);
CALL billing.protect('usage_day', false);

-- What each decision adds to the totals, and what it takes away that the decision before it had added.
-- Dimensions are those that a price or a limit asks for and that have few values; never a member's or a request's.
CREATE VIEW billing.usage_change WITH (security_invoker = true) AS
WITH counted AS (
    SELECT d.tenant, d.decision_sequence, d.ingest_sequence, d.kind, d.contract_id, 1 AS sign,
        d.reason_code = 'prepaid' AS is_prepaid
    FROM billing.event_decision d WHERE d.outcome = 'billable' OR d.reason_code = 'prepaid'
    UNION ALL
    SELECT d.tenant, d.decision_sequence, d.ingest_sequence, d.kind, before.contract_id, -1,
        before.reason_code = 'prepaid'
    FROM billing.event_decision d
    JOIN billing.event_decision before ON before.tenant = d.tenant AND before.ingest_sequence = d.ingest_sequence
        AND before.revision = d.revision - 1
    WHERE before.outcome = 'billable' OR before.reason_code = 'prepaid'
)
SELECT c.tenant, c.decision_sequence, c.contract_id, (e.occurred_at AT TIME ZONE k.time_zone)::date AS day, e.product,
    e.meter, (
        SELECT coalesce(jsonb_object_agg(x.key, x.value), '{}') FROM jsonb_each(e.dimensions) x
        WHERE x.key IN ('legal_entity', 'site', 'campus', 'department', 'referring_site', 'region', 'grade',
            'specialty', 'modality', 'payer_class', 'patient_class', 'trial', 'item_code', 'purpose', 'model',
            'publisher', 'api_key', 'verdict', 'sending_peer')
    ) AS dimensions,
    c.is_prepaid, coalesce(e.amount_currency, '') AS amount_currency, c.sign * e.quantity AS quantity,
    c.sign AS event_count, CASE c.sign WHEN 1 THEN e.quantity ELSE 0 END AS peak,
    c.sign * coalesce(e.amount_minor, 0) AS amount_minor
FROM counted c
JOIN billing.usage_event e USING (tenant, ingest_sequence, kind)
JOIN billing.contract k USING (tenant, contract_id);
GRANT SELECT ON billing.usage_change TO radmeter_app;

-- A threshold speaks again where the limit was changed meanwhile.
ALTER TABLE billing.limit_alert DROP CONSTRAINT limit_alert_pkey;
ALTER TABLE billing.limit_alert ADD PRIMARY KEY (tenant, contract_id, limit_id, window_start, percent, bound);

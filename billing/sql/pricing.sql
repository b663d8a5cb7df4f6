-- What rating asks.

-- name: usage_totals
-- Grouped by what the contract tells apart; a name that is null is null in every row. What a contract does not ask
-- for is a constant, and dimensions are one array: the fewer the columns, the sooner the planner groups by hashing.
-- singled: the events that do not simply cost their price. hash_sum: see usage_totals.digest_set.
SELECT product, meter, ARRAY[
        dimensions ->> %(dimension_1)s::text, dimensions ->> %(dimension_2)s::text,
        dimensions ->> %(dimension_3)s::text, dimensions ->> %(dimension_4)s::text,
        dimensions ->> %(dimension_5)s::text, dimensions ->> %(dimension_6)s::text,
        dimensions ->> %(dimension_7)s::text, dimensions ->> %(dimension_8)s::text,
        dimensions ->> %(dimension_9)s::text, dimensions ->> %(dimension_10)s::text
    ] AS told,
    CASE WHEN %(is_singled)s::boolean THEN coalesce(treatment, 0) ELSE 0 END AS treatment,
    CASE WHEN %(is_shared)s::boolean THEN amount_currency END AS amount_currency,
    CASE WHEN %(is_shared)s::boolean THEN width_bucket(abs(amount_minor), %(thresholds)s::bigint[]) END AS band,
    CASE WHEN %(is_shared)s::boolean THEN amount_minor < 0 END AS is_refund,
    sum(quantity) AS quantity, count(*) AS event_count, max(quantity) AS peak,
    coalesce(sum(amount_minor), 0) AS amount_minor,
    sum(('x' || left(encode(payload_hash, 'hex'), 15))::bit(60)::bigint) AS hash_sum_1,
    sum(('x' || substr(encode(payload_hash, 'hex'), 16, 15))::bit(60)::bigint) AS hash_sum_2
FROM billing.billable_usage
LEFT JOIN unnest(%(sequences)s::bigint[], %(treatments)s::integer[]) AS singled (ingest_sequence, treatment)
    USING (ingest_sequence)
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND decision_sequence <= %(cutoff)s
  AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s
GROUP BY 1, 2, 3, 4, 5, 6, 7

-- name: act_for_tenant
-- Until the transaction or savepoint ends.
SELECT set_config('radmeter.tenant', %(tenant)s, true)

-- name: periods_billed_before
SELECT starts_on, ends_on, full_days FROM billing.period
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND starts_on < %(starts_on)s ORDER BY starts_on

-- name: usage_of_period
-- What happened, whatever was decided about it, without what was declared void.
SELECT * FROM billing.current_usage
WHERE tenant = %(tenant)s AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s
  AND kind <> 'void' AND reason_code <> 'voided'
ORDER BY ingest_sequence LIMIT %(limit)s

-- name: periods_to_rate_again
-- Billed periods with the last cutoff that their corrections reached: of a statement of theirs or of a later period.
SELECT p.contract_id, c.name, c.currency, c.time_zone, p.starts_on, p.ends_on, p.full_days, p.cutoff
FROM (
    SELECT *, max(cutoff_sequence) OVER (PARTITION BY contract_id ORDER BY starts_on DESC) AS cutoff
    FROM billing.period WHERE tenant = %(tenant)s
) p JOIN billing.contract c USING (tenant, contract_id)
WHERE NOT EXISTS (
    SELECT 1 FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
    WHERE d.tenant = p.tenant AND d.contract_id = p.contract_id AND d.revision > 1
      AND d.decision_sequence > p.cutoff AND e.occurred_at < p.ends_at
) AND NOT EXISTS (
    SELECT 1 FROM billing.statement s JOIN billing.statement_line l USING (tenant, statement_id)
    WHERE s.tenant = p.tenant AND s.contract_id = p.contract_id AND l.service_start = p.starts_on
      AND s.rating_version <> %(rating_version)s
)
ORDER BY p.contract_id, p.starts_on

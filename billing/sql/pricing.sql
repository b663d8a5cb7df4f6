-- What rating asks.

-- name: usage_totals
-- Grouped by what the contract's filters tell apart; a slot without a name is null in every row.
SELECT product, meter, dimensions ->> %(dimension_1)s::text AS dimension_1,
    dimensions ->> %(dimension_2)s::text AS dimension_2, dimensions ->> %(dimension_3)s::text AS dimension_3,
    dimensions ->> %(dimension_4)s::text AS dimension_4, dimensions ->> %(dimension_5)s::text AS dimension_5,
    dimensions ->> %(dimension_6)s::text AS dimension_6, dimensions ->> %(dimension_7)s::text AS dimension_7,
    sum(quantity) AS quantity, count(*) AS event_count, max(quantity) AS peak
FROM billing.billable_usage
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND decision_sequence <= %(cutoff)s
  AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9 ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9

-- name: act_for_tenant
-- Until the transaction or savepoint ends.
SELECT set_config('radmeter.tenant', %(tenant)s, true)

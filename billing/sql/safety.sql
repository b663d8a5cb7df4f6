-- Bounds of what is issued, and accounts that broke one.

-- name: busiest_day
SELECT (occurred_at AT TIME ZONE %(time_zone)s)::date AS day, count(*) AS event_count FROM billing.billable_usage
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND decision_sequence <= %(cutoff)s
  AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1

-- name: trailing_subtotals
SELECT sum(subtotal_minor)::bigint AS subtotal_minor FROM billing.statement
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND period_start < %(starts_on)s
GROUP BY period_start ORDER BY period_start DESC LIMIT %(limit)s

-- name: released_bounds
SELECT bound FROM billing.account_parking
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND period_start = %(starts_on)s
  AND released_at IS NOT NULL

-- name: parked_accounts
SELECT p.*, c.name FROM billing.account_parking p JOIN billing.contract c USING (tenant, contract_id)
WHERE p.tenant = %(tenant)s AND p.released_at IS NULL
  AND (%(contract_id)s::bigint IS NULL OR p.contract_id = %(contract_id)s::bigint)
ORDER BY p.parking_id

-- name: park_account
INSERT INTO billing.account_parking (tenant, contract_id, period_start, bound, explanation, parked_at)
VALUES (%(tenant)s, %(contract_id)s, %(period_start)s, %(bound)s, %(explanation)s, %(now)s)

-- name: release_account
UPDATE billing.account_parking SET released_at = %(now)s, released_by = %(by)s, released_reason = %(reason)s
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND released_at IS NULL
RETURNING bound

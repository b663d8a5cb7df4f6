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

-- name: issued_within_bounds
-- What each issued period was measured by, in the order of issue.
SELECT s.contract_id, s.period_start, min(s.number) AS number, max(s.line_count) AS line_count,
    sum(s.subtotal_minor)::bigint AS subtotal_minor, min(s.total_minor) AS total_minor,
    p.starts_on, p.starts_at AS start_at, p.ends_at AS end_at, p.cutoff_sequence AS cutoff, c.time_zone,
    (SELECT count(*) FROM billing.statement_event e JOIN billing.statement o USING (tenant, statement_id)
     WHERE o.tenant = p.tenant AND o.contract_id = p.contract_id AND o.period_start = p.starts_on
       AND e.service_start = p.starts_on) AS event_count,
    ARRAY(SELECT r.bound FROM billing.account_parking r WHERE r.tenant = p.tenant
          AND r.contract_id = p.contract_id AND r.period_start = p.starts_on AND r.released_at IS NOT NULL) AS released
FROM billing.statement s
JOIN billing.period p ON p.tenant = s.tenant AND p.contract_id = s.contract_id AND p.starts_on = s.period_start
JOIN billing.contract c ON c.tenant = s.tenant AND c.contract_id = s.contract_id
WHERE s.tenant = %(tenant)s
GROUP BY s.contract_id, s.period_start, p.tenant, p.contract_id, p.starts_on, p.starts_at, p.ends_at,
    p.cutoff_sequence, c.time_zone
ORDER BY min(s.statement_id)

-- name: issued_while_parked
SELECT s.number, a.parked_at FROM billing.statement s JOIN billing.account_parking a USING (tenant, contract_id)
WHERE s.tenant = %(tenant)s AND s.issued_at > a.parked_at AND (a.released_at IS NULL OR s.issued_at < a.released_at)
ORDER BY s.statement_id

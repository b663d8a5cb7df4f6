-- reconciliation with a hospital's own count

-- name: usage_to_reconcile
-- Everything that was delivered or refused in the days asked for, by the token that the hospital knows too.
SELECT CASE %(matched_by)s::text WHEN 'case' THEN case_key ELSE dimensions ->> 'request' END AS token, product,
    (occurred_at AT TIME ZONE %(time_zone)s::text)::date AS day, outcome, reason_code, sum(quantity) AS quantity
FROM billing.current_usage
WHERE tenant = %(tenant)s AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s
  AND (%(matched_by)s::text = 'case' OR dimensions ? 'request')
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5

-- name: products_of_tenant
SELECT DISTINCT product FROM billing.contract_rate WHERE tenant = %(tenant)s

-- name: insert_reconciliation
INSERT INTO billing.reconciliation (tenant, since, until, style, file_sha256, matched_by, matched_count,
    ignored_count, difference_count, made_by, made_at)
VALUES (%(tenant)s, %(since)s, %(until)s, %(style)s, %(file_sha256)s, %(matched_by)s, %(matched_count)s,
    %(ignored_count)s, %(difference_count)s, %(made_by)s, %(made_at)s)
RETURNING reconciliation_id

-- name: insert_reconciliation_line
INSERT INTO billing.reconciliation_line (tenant, reconciliation_id, line_number, verdict, token, product,
    our_day, their_day, our_quantity, their_quantity, their_row, why)
VALUES (%(tenant)s, %(reconciliation_id)s, %(line_number)s, %(verdict)s, %(token)s, %(product)s,
    %(our_day)s, %(their_day)s, %(our_quantity)s, %(their_quantity)s, %(their_row)s, %(why)s)

-- name: reconciliations
SELECT * FROM billing.reconciliation WHERE tenant = %(tenant)s ORDER BY reconciliation_id DESC LIMIT %(limit)s

-- name: reconciliation_by_id
SELECT * FROM billing.reconciliation WHERE tenant = %(tenant)s AND reconciliation_id = %(reconciliation_id)s

-- name: reconciliation_lines
SELECT * FROM billing.reconciliation_line
WHERE tenant = %(tenant)s AND reconciliation_id = %(reconciliation_id)s ORDER BY line_number

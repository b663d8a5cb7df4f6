-- what the checklist of a month looks at; start_at, end_at: the month

-- name: sources_of_usage
SELECT source, max(occurred_at) AS last_at FROM billing.usage_event
WHERE tenant = %(tenant)s AND occurred_at >= %(start_at)s GROUP BY source ORDER BY source

-- name: waiting_in_quarantine
SELECT e.source, count(*) AS event_count FROM billing.event_decision d
JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %(tenant)s AND d.outcome = 'quarantined' AND e.occurred_at < %(end_at)s AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
) GROUP BY e.source ORDER BY e.source

-- name: statements_of_month
-- The statements that count in the month: their entry's time lies in it. One of zero counts when its period ends.
SELECT s.statement_id, s.number, s.contract_id, s.period_start, p.ends_on, p.full_days, s.cutoff_sequence,
    s.subtotal_minor,
    (SELECT count(*) FROM billing.split_allocation x WHERE x.tenant = s.tenant AND x.statement_id = s.statement_id)
        AS allocation_count
FROM billing.statement s
JOIN billing.period p ON p.tenant = s.tenant AND p.contract_id = s.contract_id AND p.starts_on = s.period_start
LEFT JOIN billing.journal_entry e ON e.tenant = s.tenant AND e.idempotency_key = 'statement:' || s.number
WHERE s.tenant = %(tenant)s
  AND coalesce(e.effective_at, p.ends_at - interval '1 microsecond') >= %(start_at)s
  AND coalesce(e.effective_at, p.ends_at - interval '1 microsecond') < %(end_at)s
ORDER BY s.statement_id

-- name: billed_by_month
-- What each contract was billed, before tax, by the month of the books in which it counts.
SELECT c.name, s.currency, date_trunc('month', e.effective_at AT TIME ZONE %(time_zone)s::text)::date AS month,
    sum(s.subtotal_minor) AS amount_minor
FROM billing.statement s
JOIN billing.contract c ON c.tenant = s.tenant AND c.contract_id = s.contract_id
JOIN billing.journal_entry e ON e.tenant = s.tenant AND e.idempotency_key = 'statement:' || s.number
WHERE s.tenant = %(tenant)s AND e.effective_at >= %(since)s AND e.effective_at < %(end_at)s
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- name: unknown_rail_operations
SELECT operation_id, rail, kind FROM billing.rail_operation
WHERE tenant = %(tenant)s AND state = 'unknown' AND created_at < %(end_at)s ORDER BY operation_id

-- name: journal_of_month
SELECT count(*) AS entry_count, coalesce(max(sequence), 0) AS last_sequence FROM billing.journal_entry
WHERE tenant = %(tenant)s AND effective_at >= %(start_at)s AND effective_at < %(end_at)s

-- name: close_waivers
SELECT DISTINCT ON (item) item, evidence, waived_by, reason FROM billing.close_waiver
WHERE tenant = %(tenant)s AND month = %(month)s ORDER BY item, waiver_id DESC

-- name: insert_close_waiver
INSERT INTO billing.close_waiver (tenant, month, item, evidence, waived_by, reason, waived_at)
VALUES (%(tenant)s, %(month)s, %(item)s, %(evidence)s, %(waived_by)s, %(reason)s, %(waived_at)s)

-- name: close_sign_offs
SELECT signed_by, signed_at, checklist_sha256 FROM billing.close_sign_off
WHERE tenant = %(tenant)s AND month = %(month)s ORDER BY sign_off_id

-- name: insert_close_sign_off
INSERT INTO billing.close_sign_off (tenant, month, checklist, checklist_sha256, signed_by, signed_at)
VALUES (%(tenant)s, %(month)s, %(checklist)s, %(checklist_sha256)s, %(signed_by)s, %(signed_at)s)
ON CONFLICT DO NOTHING

-- What case rules, payers, sites and outcomes ask.

-- name: cases_of_period
-- verdict: the first that was recorded by the cutoff, of those given within the window after delivery.
SELECT u.ingest_sequence, u.source, u.event_id, u.product, u.quantity, u.occurred_at,
    u.dimensions ->> 'request' AS request, CASE WHEN %(has_outcome)s THEN (
    SELECT v.verdict FROM billing.verdict v
    WHERE v.tenant = u.tenant AND v.case_key = u.case_key AND v.product = u.product
      AND v.occurred_at >= u.occurred_at AND v.occurred_at <= u.occurred_at + %(window)s::interval
      AND v.decision_sequence <= %(cutoff)s AND coalesce(v.withdrawn_sequence > %(cutoff)s, true)
    ORDER BY v.decision_sequence LIMIT 1
) END AS verdict
FROM billing.billable_usage u
WHERE u.tenant = %(tenant)s AND u.contract_id = %(contract_id)s AND u.decision_sequence <= %(cutoff)s
  AND u.occurred_at >= %(start_at)s AND u.occurred_at < %(end_at)s

-- name: periods_with_new_verdicts
-- Billed periods that hold a case whose verdict came, or was withdrawn, after the contract's last statement.
SELECT DISTINCT p.starts_on, p.ends_on, p.full_days FROM billing.event_decision d
JOIN billing.usage_event o ON o.tenant = d.tenant AND o.ingest_sequence = d.ingest_sequence AND o.kind = d.kind
JOIN billing.case_claim c ON c.tenant = o.tenant AND c.contract_id = %(contract_id)s AND c.case_key = o.case_key
JOIN billing.billable_usage u ON u.tenant = c.tenant AND u.ingest_sequence = c.ingest_sequence
    AND u.contract_id = c.contract_id AND u.product = o.product
JOIN billing.period p ON p.tenant = u.tenant AND p.contract_id = u.contract_id
    AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
WHERE d.tenant = %(tenant)s AND d.kind = 'outcome' AND d.decision_sequence <= %(cutoff)s
  AND d.decision_sequence > (
    SELECT coalesce(max(q.cutoff_sequence), 0) FROM billing.period q
    WHERE q.tenant = %(tenant)s AND q.contract_id = %(contract_id)s
  )
  AND p.starts_on < %(starts_on)s
ORDER BY p.starts_on

-- name: case_of_outcome
-- Who holds a case is charged for it; its claim has an index, by contract.
SELECT u.contract_id, u.contract_version, u.occurred_at FROM billing.contract k
JOIN billing.case_claim c ON c.tenant = k.tenant AND c.contract_id = k.contract_id AND c.case_key = %(case_key)s
JOIN billing.billable_usage u ON u.tenant = c.tenant AND u.ingest_sequence = c.ingest_sequence
    AND u.contract_id = c.contract_id
WHERE k.tenant = %(tenant)s AND u.product = %(product)s
ORDER BY u.ingest_sequence LIMIT 1

-- name: versions_of_contracts
SELECT contract_id, version, source_text FROM billing.contract_version
WHERE tenant = %(tenant)s ORDER BY contract_id, version

-- name: cases_without_verdict
SELECT u.* FROM billing.billable_usage u
WHERE u.tenant = %(tenant)s AND u.contract_id = %(contract_id)s AND u.contract_version = %(version)s
  AND u.product = ANY (%(products)s) AND u.occurred_at + %(window)s::interval <= %(now)s
  AND NOT EXISTS (
    SELECT 1 FROM billing.verdict v
    WHERE v.tenant = u.tenant AND v.case_key = u.case_key AND v.product = u.product
      AND v.occurred_at >= u.occurred_at AND v.occurred_at <= u.occurred_at + %(window)s::interval
      AND v.withdrawn_sequence IS NULL
  )
ORDER BY u.ingest_sequence LIMIT %(limit)s

-- name: examinations
SELECT product, dimensions ->> 'region' AS region, dimensions ->> 'item_code' AS item_code,
    (occurred_at AT TIME ZONE %(time_zone)s)::date AS day, sum(quantity) AS cases
FROM billing.billable_usage
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND decision_sequence <= %(cutoff)s
  AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s AND product = ANY (%(products)s)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4

-- name: insert_shared_lines
INSERT INTO billing.shared_line (tenant, contract_id, period_start, line_key, service_start, amount_minor)
SELECT %(tenant)s, %(contract_id)s, %(period_start)s, x.line_key, x.service_start, x.amount_minor
FROM unnest(%(keys)s::text[], %(starts)s::date[], %(amounts)s::bigint[]) AS x (line_key, service_start, amount_minor)

-- name: insert_site_parts
INSERT INTO billing.statement_site
    (tenant, statement_id, line_number, site, department, quantity, amount_minor, tax_minor)
SELECT %(tenant)s, %(statement_id)s, x.line_number, x.site, x.department, x.quantity, x.amount_minor, x.tax_minor
FROM unnest(%(numbers)s::integer[], %(sites)s::text[], %(departments)s::text[], %(quantities)s::numeric[],
    %(amounts)s::bigint[], %(taxes)s::bigint[])
    AS x (line_number, site, department, quantity, amount_minor, tax_minor)

-- name: billed_site_parts
SELECT l.line_key, p.site, p.department, sum(p.quantity) AS quantity, sum(p.amount_minor) AS amount_minor
FROM billing.statement_site p JOIN billing.statement_line l USING (tenant, statement_id, line_number)
JOIN billing.statement s USING (tenant, statement_id)
WHERE p.tenant = %(tenant)s AND s.contract_id = %(contract_id)s AND l.service_start = %(starts_on)s
  AND s.payer_id = %(payer_id)s
GROUP BY l.line_key, p.site, p.department

-- name: site_parts
SELECT p.* FROM billing.statement_site p
WHERE p.tenant = %(tenant)s AND p.statement_id = %(statement_id)s
  AND (%(site)s::text IS NULL OR p.site = %(site)s::text)
ORDER BY p.site, p.department, p.line_number

-- name: lines_shared_unequally
SELECT u.* FROM billing.shared_unequally u WHERE u.tenant = %(tenant)s
ORDER BY u.contract_id, u.period_start, u.line_key, u.service_start

-- name: lines_sited_unequally
SELECT u.*, s.number FROM billing.sited_unequally u JOIN billing.statement s USING (tenant, statement_id)
WHERE u.tenant = %(tenant)s ORDER BY u.statement_id, u.line_number

-- name: studies_in_dispute
SELECT DISTINCT u.study_ref FROM billing.dispute d
JOIN billing.statement_event e ON e.tenant = d.tenant AND e.statement_id = d.statement_id
JOIN billing.usage_event u ON u.tenant = e.tenant AND u.ingest_sequence = e.ingest_sequence
WHERE d.tenant = %(tenant)s AND d.state = 'open'

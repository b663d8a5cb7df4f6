-- splits

-- name: issued_period
SELECT 1 FROM billing.period
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND starts_on = %(period_start)s

-- name: contribution_revision
SELECT coalesce(max(revision), 0) AS revision FROM billing.contribution
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND pool = %(pool)s
  AND period_start = %(period_start)s

-- name: insert_contribution
INSERT INTO billing.contribution
    (tenant, contract_id, pool, period_start, revision, party_id, weight, evidence, set_by, set_at)
VALUES (%(tenant)s, %(contract_id)s, %(pool)s, %(period_start)s, %(revision)s, %(party_id)s, %(weight)s,
    %(evidence)s, %(set_by)s, %(set_at)s)

-- name: contributions
SELECT c.party_id, c.weight, c.evidence FROM billing.contribution c
WHERE c.tenant = %(tenant)s AND c.contract_id = %(contract_id)s AND c.pool = %(pool)s
  AND c.period_start = %(period_start)s AND c.revision = (
    SELECT max(x.revision) FROM billing.contribution x WHERE x.tenant = c.tenant
    AND x.contract_id = c.contract_id AND x.pool = c.pool AND x.period_start = c.period_start
  )
ORDER BY c.party_id

-- name: billed_for_split
-- Everything that statements hold for a service period, by line key.
SELECT l.line_key, min(l.product) AS product, sum(l.quantity) AS quantity, sum(l.amount_minor) AS amount_minor
FROM billing.statement_line l JOIN billing.statement s USING (tenant, statement_id)
WHERE l.tenant = %(tenant)s AND s.contract_id = %(contract_id)s AND l.service_start = %(service_start)s
GROUP BY l.line_key ORDER BY l.line_key

-- name: allocated_before
SELECT a.split, a.line_key, a.party_id, sum(a.amount_minor) AS amount_minor
FROM billing.split_allocation a JOIN billing.statement s USING (tenant, statement_id)
WHERE a.tenant = %(tenant)s AND s.contract_id = %(contract_id)s AND a.service_start = %(service_start)s
GROUP BY a.split, a.line_key, a.party_id

-- name: insert_split_allocations
INSERT INTO billing.split_allocation (tenant, statement_id, line_number, split, basis, party_id, is_own, line_key,
    service_start, currency, base_minor, amount_minor, accrued_at)
SELECT %(tenant)s, %(statement_id)s, r.line_number, r.split, r.basis, r.party_id, r.is_own, r.line_key,
    r.service_start, %(currency)s, r.base_minor, r.amount_minor, %(accrued_at)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (line_number integer, split text, basis text, party_id text,
    is_own boolean, line_key text, service_start date, base_minor bigint, amount_minor bigint)

-- name: split_states
SELECT * FROM billing.split_state
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s
ORDER BY line_number, split, party_id

-- name: insert_split_reversals
INSERT INTO billing.split_reversal (tenant, allocation_id, credit_note, amount_minor, reversed_at)
SELECT %(tenant)s, r.allocation_id, %(credit_note)s, r.amount_minor, %(reversed_at)s
FROM unnest(%(allocation_ids)s::bigint[], %(amounts)s::bigint[]) AS r (allocation_id, amount_minor)

-- name: insert_released
INSERT INTO billing.party_movement (tenant, seller_id, party_id, currency, kind, amount_minor, allocation_id,
    contract_id, period_end, reference, moved_at)
SELECT a.tenant, s.seller_id, a.party_id, a.currency,
    CASE WHEN r.amount_minor > 0 THEN 'released' ELSE 'withheld' END, r.amount_minor, a.allocation_id,
    s.contract_id, p.ends_on, %(reference)s, %(moved_at)s
FROM unnest(%(allocation_ids)s::bigint[], %(amounts)s::bigint[]) AS r (allocation_id, amount_minor)
JOIN billing.split_allocation a ON a.tenant = %(tenant)s AND a.allocation_id = r.allocation_id
JOIN billing.statement s ON s.tenant = a.tenant AND s.statement_id = a.statement_id
JOIN billing.period p
    ON p.tenant = s.tenant AND p.contract_id = s.contract_id AND p.starts_on = s.period_start
WHERE s.statement_id = %(statement_id)s

-- name: collected_of_statement
SELECT allocated_minor, total_minor - credited_minor AS due_minor FROM billing.statement_open
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s

-- The way from a line of a statement to its cases and to its money.

-- name: cases_of_line
-- Of one statement, service period, product and meter, by the order of recording.
SELECT u.* FROM billing.statement_event e
JOIN billing.current_usage u ON u.tenant = e.tenant AND u.ingest_sequence = e.ingest_sequence
WHERE e.tenant = %(tenant)s AND e.statement_id = %(statement_id)s AND e.service_start = %(service_start)s
  AND u.product = %(product)s AND u.meter = %(meter)s AND e.ingest_sequence > %(after)s
ORDER BY e.ingest_sequence LIMIT %(limit)s

-- name: usage_by_sequence
SELECT * FROM billing.current_usage WHERE tenant = %(tenant)s AND ingest_sequence = %(ingest_sequence)s

-- name: decisions_of_event
SELECT revision, outcome, reason_code, policy, decided_by, decided_at FROM billing.event_decision
WHERE tenant = %(tenant)s AND ingest_sequence = %(ingest_sequence)s ORDER BY revision

-- name: shares_of_line
-- What each payee gets of the line, what credit notes took back, what became payable.
SELECT a.split, a.basis, a.party_id, p.legal_name, a.is_own, a.amount_minor,
    (SELECT coalesce(sum(r.amount_minor), 0)::bigint FROM billing.split_reversal r
     WHERE r.tenant = a.tenant AND r.allocation_id = a.allocation_id) AS reversed_minor,
    (SELECT coalesce(sum(m.amount_minor), 0)::bigint FROM billing.party_movement m
     WHERE m.tenant = a.tenant AND m.allocation_id = a.allocation_id) AS payable_minor
FROM billing.split_allocation a JOIN billing.party p ON p.tenant = a.tenant AND p.party_id = a.party_id
WHERE a.tenant = %(tenant)s AND a.statement_id = %(statement_id)s AND a.line_number = %(line_number)s
ORDER BY a.split, a.is_own DESC, a.party_id

-- name: shares_of_party
-- What a payee earned, by contract, period of service and share; nothing of what others get.
SELECT c.name AS contract_name, a.service_start, a.split, a.basis, a.currency, count(*) AS line_count,
    sum(a.base_minor)::bigint AS base_minor, sum(a.amount_minor)::bigint AS amount_minor,
    coalesce(sum(r.amount_minor), 0)::bigint AS reversed_minor, coalesce(sum(m.amount_minor), 0)::bigint AS payable_minor
FROM billing.split_allocation a
JOIN billing.statement s ON s.tenant = a.tenant AND s.statement_id = a.statement_id
JOIN billing.contract c ON c.tenant = s.tenant AND c.contract_id = s.contract_id
LEFT JOIN (SELECT tenant, allocation_id, sum(amount_minor) AS amount_minor FROM billing.split_reversal
           WHERE tenant = %(tenant)s GROUP BY tenant, allocation_id) r
    ON r.tenant = a.tenant AND r.allocation_id = a.allocation_id
LEFT JOIN (SELECT tenant, allocation_id, sum(amount_minor) AS amount_minor FROM billing.party_movement
           WHERE tenant = %(tenant)s AND allocation_id IS NOT NULL GROUP BY tenant, allocation_id) m
    ON m.tenant = a.tenant AND m.allocation_id = a.allocation_id
WHERE a.tenant = %(tenant)s AND a.party_id = %(party_id)s AND NOT a.is_own
GROUP BY 1, 2, 3, 4, 5 ORDER BY 2 DESC, 1, 3 LIMIT %(limit)s

-- name: payees
-- Parties that share in statements, each with what became payable and was not paid out yet.
SELECT p.party_id, p.legal_name, a.currency,
    (SELECT coalesce(sum(m.amount_minor), 0)::bigint FROM billing.party_movement m
     WHERE m.tenant = p.tenant AND m.party_id = p.party_id AND m.currency = a.currency) AS balance_minor
FROM (SELECT DISTINCT tenant, party_id, currency FROM billing.split_allocation
      WHERE tenant = %(tenant)s AND NOT is_own) a
JOIN billing.party p ON p.tenant = a.tenant AND p.party_id = a.party_id
WHERE %(party_id)s::text IS NULL OR p.party_id = %(party_id)s::text
ORDER BY p.party_id, a.currency

-- name: payout_statements_of_party
SELECT payout_statement_id, document FROM billing.payout_statement
WHERE tenant = %(tenant)s AND party_id = %(party_id)s ORDER BY period_start DESC, payout_statement_id DESC LIMIT %(limit)s

-- name: payouts_of_party
SELECT p.payout_id FROM billing.payout p
WHERE p.tenant = %(tenant)s AND p.party_id = %(party_id)s ORDER BY p.payout_id DESC LIMIT %(limit)s

-- payouts

-- name: payee_accounts
SELECT DISTINCT s.seller_id, a.party_id, a.currency
FROM billing.split_allocation a JOIN billing.statement s USING (tenant, statement_id)
WHERE a.tenant = %(tenant)s AND NOT a.is_own AND a.basis <> 'reserve'
ORDER BY s.seller_id, a.party_id, a.currency

-- name: insert_movement
INSERT INTO billing.party_movement (tenant, seller_id, party_id, currency, kind, amount_minor, period_end,
    reference, moved_at)
VALUES (%(tenant)s, %(seller_id)s, %(party_id)s, %(currency)s, %(kind)s, %(amount_minor)s, %(period_end)s,
    %(reference)s, %(moved_at)s)

-- name: insert_payout_movement
INSERT INTO billing.party_movement (tenant, seller_id, party_id, currency, kind, amount_minor, period_end,
    reference, moved_at)
SELECT p.tenant, p.seller_id, p.party_id, p.currency, %(kind)s, %(amount_minor)s, s.period_end,
    %(reference)s, %(moved_at)s
FROM billing.payout p JOIN billing.payout_statement s USING (tenant, payout_statement_id)
WHERE p.tenant = %(tenant)s AND p.payout_id = %(payout_id)s

-- name: unstated_shares
-- Allocations with something payable that no payout statement told of yet.
SELECT a.*, u.moved_minor FROM (
    SELECT m.tenant, m.allocation_id, sum(m.amount_minor)::bigint AS moved_minor FROM billing.party_movement m
    WHERE m.tenant = %(tenant)s AND m.seller_id = %(seller_id)s AND m.party_id = %(party_id)s
      AND m.currency = %(currency)s AND m.allocation_id IS NOT NULL AND m.period_end <= %(period_end)s
      AND NOT EXISTS (
        SELECT 1 FROM billing.payout_statement_movement x
        WHERE x.tenant = m.tenant AND x.movement_id = m.movement_id
      )
    GROUP BY m.tenant, m.allocation_id
) u JOIN billing.split_state a USING (tenant, allocation_id)
ORDER BY a.statement_id, a.line_number, a.split

-- name: payout_balances
-- paid: payouts that no statement told of yet. pending: on their way. advance: paid beforehand, not recouped.
SELECT
    (SELECT coalesce(sum(m.amount_minor), 0)::bigint FROM billing.party_movement m
     WHERE m.tenant = %(tenant)s AND m.seller_id = %(seller_id)s AND m.party_id = %(party_id)s
       AND m.currency = %(currency)s AND m.kind IN ('payout_sent', 'payout_returned')
       AND m.period_end <= %(period_end)s AND NOT EXISTS (
        SELECT 1 FROM billing.payout_statement_movement x
        WHERE x.tenant = m.tenant AND x.movement_id = m.movement_id
    )) AS paid_minor,
    (SELECT coalesce(sum(p.amount_minor), 0)::bigint FROM billing.payout p
     WHERE p.tenant = %(tenant)s AND p.seller_id = %(seller_id)s AND p.party_id = %(party_id)s
       AND p.currency = %(currency)s AND p.kind = 'statement'
       AND p.state IN ('requested', 'approved', 'failed')) AS pending_minor,
    (SELECT coalesce(sum(p.amount_minor), 0)::bigint FROM billing.payout p
     WHERE p.tenant = %(tenant)s AND p.seller_id = %(seller_id)s AND p.party_id = %(party_id)s
       AND p.currency = %(currency)s AND p.kind = 'advance' AND p.state = 'confirmed')
    + (SELECT coalesce(sum(m.amount_minor), 0)::bigint FROM billing.party_movement m
       WHERE m.tenant = %(tenant)s AND m.seller_id = %(seller_id)s AND m.party_id = %(party_id)s
         AND m.currency = %(currency)s
         AND (m.kind = 'recouped' OR m.reference LIKE 'advance:%%')) AS advance_minor

-- name: periods_without_guarantee
SELECT p.contract_id, p.starts_on, p.ends_on, p.full_days, p.ends_on - p.starts_on AS days, v.source_text
FROM billing.period p JOIN billing.contract c USING (tenant, contract_id)
JOIN LATERAL (
    SELECT source_text FROM billing.contract_version v
    WHERE v.tenant = p.tenant AND v.contract_id = p.contract_id AND v.effective_at <= p.starts_at
    ORDER BY v.effective_at DESC LIMIT 1
) v ON true
WHERE p.tenant = %(tenant)s AND c.seller_id = %(seller_id)s AND c.currency = %(currency)s
  AND p.ends_on <= %(period_end)s AND NOT EXISTS (
    SELECT 1 FROM billing.split_guarantee g WHERE g.tenant = p.tenant AND g.contract_id = p.contract_id
    AND g.period_start = p.starts_on AND g.party_id = %(party_id)s
  )
ORDER BY p.contract_id, p.starts_on

-- name: earned_in_period
SELECT coalesce(sum(a.amount_minor - a.reversed_minor), 0)::bigint AS earned_minor
FROM billing.split_state a JOIN billing.statement s USING (tenant, statement_id)
WHERE a.tenant = %(tenant)s AND s.contract_id = %(contract_id)s AND s.period_start = %(period_start)s
  AND a.split = %(split)s AND a.party_id = %(party_id)s

-- name: insert_guarantee
INSERT INTO billing.split_guarantee (tenant, contract_id, period_start, split, party_id, currency,
    guaranteed_minor, earned_minor, top_up_minor, decided_at)
VALUES (%(tenant)s, %(contract_id)s, %(period_start)s, %(split)s, %(party_id)s, %(currency)s,
    %(guaranteed_minor)s, %(earned_minor)s, %(top_up_minor)s, %(decided_at)s)

-- name: next_payout_statement_id
SELECT nextval('billing.payout_statement_id') AS payout_statement_id

-- name: state_movements
INSERT INTO billing.payout_statement_movement (tenant, movement_id, payout_statement_id)
SELECT m.tenant, m.movement_id, %(payout_statement_id)s FROM billing.party_movement m
WHERE m.tenant = %(tenant)s AND m.seller_id = %(seller_id)s AND m.party_id = %(party_id)s
  AND m.currency = %(currency)s AND m.period_end <= %(period_end)s AND NOT EXISTS (
    SELECT 1 FROM billing.payout_statement_movement x
    WHERE x.tenant = m.tenant AND x.movement_id = m.movement_id
  )

-- name: insert_payout_statement
INSERT INTO billing.payout_statement (payout_statement_id, tenant, seller_id, party_id, currency, period_start,
    period_end, sequence_number, number, opening_minor, moved_minor, closing_minor, pending_minor, to_pay_minor,
    document, document_sha256, issued_by, issued_at)
VALUES (%(payout_statement_id)s, %(tenant)s, %(seller_id)s, %(party_id)s, %(currency)s, %(period_start)s,
    %(period_end)s, %(sequence_number)s, %(number)s, %(opening_minor)s, %(moved_minor)s, %(closing_minor)s,
    %(pending_minor)s, %(to_pay_minor)s, %(document)s, %(document_sha256)s, %(issued_by)s, %(issued_at)s)

-- name: payout_statement_by_id
SELECT payout_statement_id, document FROM billing.payout_statement
WHERE tenant = %(tenant)s AND payout_statement_id = %(payout_statement_id)s

-- name: payout_statement_of_month
SELECT payout_statement_id, document FROM billing.payout_statement
WHERE tenant = %(tenant)s AND seller_id = %(seller_id)s AND party_id = %(party_id)s
  AND currency = %(currency)s AND period_start = %(period_start)s

-- name: last_payout_statement
SELECT number, period_start, closing_minor FROM billing.payout_statement
WHERE tenant = %(tenant)s AND seller_id = %(seller_id)s AND party_id = %(party_id)s
  AND currency = %(currency)s ORDER BY period_start DESC LIMIT 1

-- name: insert_payout
INSERT INTO billing.payout (tenant, kind, payout_statement_id, contract_id, split, seller_id, party_id, currency,
    amount_minor, state, requested_by, requested_at, changed_at)
VALUES (%(tenant)s, %(kind)s, %(payout_statement_id)s, %(contract_id)s, %(split)s, %(seller_id)s, %(party_id)s,
    %(currency)s, %(amount_minor)s, 'requested', %(by)s, %(now)s, %(now)s)
RETURNING payout_id

-- name: advance_of
SELECT 1 FROM billing.payout
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND split = %(split)s AND party_id = %(party_id)s
  AND kind = 'advance' AND state NOT IN ('returned', 'cancelled')

-- name: payout_by_id
SELECT p.*, coalesce(s.number, 'advance') AS reference FROM billing.payout p
LEFT JOIN billing.payout_statement s USING (tenant, payout_statement_id)
WHERE p.tenant = %(tenant)s AND p.payout_id = %(payout_id)s

-- name: payouts
SELECT p.*, coalesce(s.number, 'advance') AS reference FROM billing.payout p
LEFT JOIN billing.payout_statement s USING (tenant, payout_statement_id)
WHERE p.tenant = %(tenant)s ORDER BY payout_id DESC LIMIT %(limit)s

-- name: change_payout
UPDATE billing.payout SET state = %(state)s, approved_by = coalesce(%(by)s, approved_by),
    approver_party = coalesce(%(of_party)s, approver_party), detail = %(detail)s, changed_at = %(now)s,
    revision = revision + 1
WHERE tenant = %(tenant)s AND payout_id = %(payout_id)s

-- name: charges_behind_payout
-- By statement whose shares a payout statement tells of, and by payment that paid it by Stripe: what became payable,
-- what the payment paid of it, and what other payouts and refunds left of the payment.
WITH payable AS (
    SELECT a.statement_id, sum(m.amount_minor)::bigint AS amount_minor
    FROM billing.payout_statement_movement x
    JOIN billing.party_movement m USING (tenant, movement_id)
    JOIN billing.split_allocation a USING (tenant, allocation_id)
    WHERE x.tenant = %(tenant)s AND x.payout_statement_id = %(payout_statement_id)s
    GROUP BY a.statement_id HAVING sum(m.amount_minor) > 0
), sent AS (
    SELECT part ->> 'source' AS source, sum((part ->> 'amount_minor')::bigint)::bigint AS amount_minor
    FROM billing.rail_operation o CROSS JOIN jsonb_array_elements(o.request -> 'parts') part
    WHERE o.tenant = %(tenant)s AND o.kind = 'pay_out' AND o.rail = 'stripe' AND o.state <> 'failed'
    GROUP BY part ->> 'source'
)
SELECT r.statement_id, p.payment_id, r.amount_minor AS payable_minor, sum(l.amount_minor)::bigint AS paid_minor,
    (p.amount_minor - coalesce(t.amount_minor, 0) - coalesce((
        SELECT sum(f.amount_minor) FROM billing.refund f WHERE f.tenant = p.tenant AND f.payment_id = p.payment_id
    ), 0))::bigint AS left_minor
FROM payable r
JOIN billing.payment_allocation l ON l.tenant = %(tenant)s AND l.statement_id = r.statement_id
JOIN billing.payment p ON p.tenant = l.tenant AND p.payment_id = l.payment_id
LEFT JOIN sent t ON t.source = p.external_id
WHERE p.source = 'stripe' AND p.currency = %(currency)s
GROUP BY r.statement_id, p.tenant, p.payment_id, p.amount_minor, r.amount_minor, t.amount_minor
HAVING sum(l.amount_minor) > 0
ORDER BY r.statement_id, p.payment_id

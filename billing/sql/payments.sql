-- payments

-- name: insert_payment
INSERT INTO billing.payment (tenant, payer_id, source, external_id, payload_hash, currency, amount_minor,
    fee_minor, remittance, received_at, recorded_by, recorded_at)
VALUES (%(tenant)s, %(payer_id)s, %(source)s, %(external_id)s, %(payload_hash)s, %(currency)s,
    %(amount_minor)s, %(fee_minor)s, %(remittance)s, %(received_at)s, %(recorded_by)s, %(recorded_at)s)
RETURNING payment_id

-- name: payment_by_external_id
SELECT * FROM billing.payment_unapplied
WHERE tenant = %(tenant)s AND source = %(source)s AND external_id = %(external_id)s

-- name: payment_by_id
SELECT * FROM billing.payment_unapplied WHERE tenant = %(tenant)s AND payment_id = %(payment_id)s

-- name: payments
SELECT * FROM billing.payment_unapplied
WHERE tenant = %(tenant)s AND (NOT %(only_unapplied)s OR unapplied_minor > 0)
ORDER BY received_at DESC, payment_id DESC LIMIT %(limit)s

-- name: party_exists
SELECT 1 FROM billing.party WHERE tenant = %(tenant)s AND party_id = %(party_id)s

-- name: insert_allocation
INSERT INTO billing.payment_allocation (tenant, payment_id, statement_id, amount_minor, reverses_id, reason,
    allocated_by, allocated_at)
VALUES (%(tenant)s, %(payment_id)s, %(statement_id)s, %(amount_minor)s, %(reverses_id)s, %(reason)s,
    %(allocated_by)s, %(allocated_at)s)
RETURNING allocation_id

-- name: allocation_by_id
SELECT * FROM billing.payment_allocation WHERE tenant = %(tenant)s AND allocation_id = %(allocation_id)s

-- name: allocations_of_payment
SELECT a.*, p.currency, s.number, a.amount_minor + coalesce((
    SELECT sum(r.amount_minor) FROM billing.payment_allocation r
    WHERE r.tenant = a.tenant AND r.reverses_id = a.allocation_id
), 0)::bigint AS standing_minor
FROM billing.payment_allocation a JOIN billing.payment p USING (tenant, payment_id)
JOIN billing.statement s USING (tenant, statement_id)
WHERE a.tenant = %(tenant)s AND a.payment_id = %(payment_id)s ORDER BY a.allocation_id

-- name: taken_back
SELECT coalesce(sum(amount_minor), 0)::bigint AS amount_minor FROM billing.payment_allocation
WHERE tenant = %(tenant)s AND reverses_id = %(allocation_id)s

-- name: open_of_statement
SELECT o.*, (
    SELECT p.account FROM billing.journal_entry e
    JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence
    WHERE e.tenant = o.tenant AND e.idempotency_key = 'statement:' || o.number
      AND p.account LIKE 'receivable:%%' LIMIT 1
) AS receivable_account
FROM billing.statement_open o WHERE o.tenant = %(tenant)s AND o.statement_id = %(statement_id)s

-- name: open_statements
SELECT * FROM (
    SELECT o.*, (
        SELECT substr(p.account, 12) FROM billing.journal_entry e
        JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence
        WHERE e.tenant = o.tenant AND e.idempotency_key = 'statement:' || o.number
          AND p.account LIKE 'receivable:%%' LIMIT 1
    ) AS payer_id
    FROM billing.statement_open o WHERE o.tenant = %(tenant)s
) s WHERE s.payer_id IS NOT NULL AND (%(also_paid)s OR s.open_minor > 0)
ORDER BY s.open_minor > 0 DESC, s.due_on, s.statement_id LIMIT %(limit)s

-- name: insert_refund
INSERT INTO billing.refund (tenant, payment_id, kind, external_id, amount_minor, reason, requested_by,
    approved_by, requested_at)
VALUES (%(tenant)s, %(payment_id)s, %(kind)s, %(external_id)s, %(amount_minor)s, %(reason)s, %(requested_by)s,
    %(approved_by)s, %(requested_at)s)
RETURNING refund_id

-- name: refund_by_id
SELECT r.*, p.payer_id, p.source, p.external_id AS payment_external_id, p.currency
FROM billing.refund r JOIN billing.payment p USING (tenant, payment_id)
WHERE r.tenant = %(tenant)s AND r.refund_id = %(refund_id)s

-- name: return_by_external_id
SELECT * FROM billing.refund
WHERE tenant = %(tenant)s AND payment_id = %(payment_id)s AND external_id = %(external_id)s

-- name: insert_write_off
INSERT INTO billing.write_off (tenant, statement_id, amount_minor, reason, requested_by, approved_by,
    written_off_at)
VALUES (%(tenant)s, %(statement_id)s, %(amount_minor)s, %(reason)s, %(requested_by)s, %(approved_by)s,
    %(written_off_at)s)
RETURNING write_off_id

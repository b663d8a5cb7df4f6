-- bank

-- name: insert_bank_line
INSERT INTO billing.bank_line (tenant, digest, account, booked_on, value_on, currency, amount_minor, charges_minor,
    counterparty_name, counterparty_account, remittance, end_to_end_id, bank_reference, is_return, file_sha256,
    imported_by, imported_at)
VALUES (%(tenant)s, %(digest)s, %(account)s, %(booked_on)s, %(value_on)s, %(currency)s, %(amount_minor)s,
    %(charges_minor)s, %(counterparty_name)s, %(counterparty_account)s, %(remittance)s, %(end_to_end_id)s,
    %(bank_reference)s, %(is_return)s, %(file_sha256)s, %(imported_by)s, %(imported_at)s)
ON CONFLICT (tenant, digest) DO NOTHING RETURNING bank_line_id

-- name: bank_lines_unused
SELECT l.* FROM billing.bank_line l WHERE l.tenant = %(tenant)s AND NOT EXISTS (
    SELECT 1 FROM billing.bank_line_use u WHERE u.tenant = l.tenant AND u.bank_line_id = l.bank_line_id
) ORDER BY l.booked_on, l.bank_line_id LIMIT %(limit)s

-- name: bank_line_by_id
SELECT l.*, u.outcome, u.reason FROM billing.bank_line l LEFT JOIN billing.bank_line_use u USING (tenant, bank_line_id)
WHERE l.tenant = %(tenant)s AND l.bank_line_id = %(bank_line_id)s

-- name: insert_bank_line_use
INSERT INTO billing.bank_line_use (tenant, bank_line_id, outcome, payment_id, operation_id, reason, decided_by,
    decided_at)
VALUES (%(tenant)s, %(bank_line_id)s, %(outcome)s, %(payment_id)s, %(operation_id)s, %(reason)s, %(decided_by)s,
    %(decided_at)s)

-- name: insert_payer_account
INSERT INTO billing.payer_account (tenant, account, party_id, bank_line_id)
VALUES (%(tenant)s, %(account)s, %(party_id)s, %(bank_line_id)s)
ON CONFLICT DO NOTHING

-- name: payer_accounts
SELECT account, party_id FROM billing.payer_account WHERE tenant = %(tenant)s

-- name: bank_payments_by_line
-- Payments that came by bank, with where they came from: what a returned line is looked for among.
SELECT p.payment_id, p.amount_minor, p.currency, l.counterparty_account, l.end_to_end_id, l.bank_line_id
FROM billing.payment p JOIN billing.bank_line_use u USING (tenant, payment_id)
JOIN billing.bank_line l USING (tenant, bank_line_id)
WHERE p.tenant = %(tenant)s AND u.outcome = 'payment' AND l.counterparty_account = %(account)s
  AND l.amount_minor = %(amount_minor)s AND l.currency = %(currency)s AND l.booked_on <= %(booked_on)s
  AND NOT EXISTS (SELECT 1 FROM billing.refund r WHERE r.tenant = p.tenant AND r.payment_id = p.payment_id
      AND r.kind = 'returned')
ORDER BY p.payment_id

-- name: operations_to_order
SELECT o.* FROM billing.rail_operation o
WHERE o.tenant = %(tenant)s AND o.rail = 'bank' AND o.kind IN ('refund', 'pay_out') AND o.state = 'sent'
  AND o.external_id IS NOT NULL AND o.currency = %(currency)s AND NOT EXISTS (
    SELECT 1 FROM billing.payment_order_line l WHERE l.tenant = o.tenant AND l.operation_id = o.operation_id
    AND l.generation = o.generation
) ORDER BY o.operation_id

-- name: insert_payment_order
INSERT INTO billing.payment_order (tenant, format, document, created_by, created_at)
VALUES (%(tenant)s, %(format)s, %(document)s, %(created_by)s, %(created_at)s) RETURNING order_id

-- name: insert_payment_order_line
INSERT INTO billing.payment_order_line (tenant, operation_id, generation, order_id)
VALUES (%(tenant)s, %(operation_id)s, %(generation)s, %(order_id)s)

-- name: payment_order_by_id
SELECT * FROM billing.payment_order WHERE tenant = %(tenant)s AND order_id = %(order_id)s

-- name: next_payment_order
SELECT count(*) + 1 AS number FROM billing.payment_order WHERE tenant = %(tenant)s

-- Numbers, credit notes, disputes, fiscal documents, reminders.

-- numbers

-- name: insert_document_counter
INSERT INTO billing.document_counter (tenant, issuer_id, series, last_number)
VALUES (%(tenant)s, %(issuer_id)s, %(series)s, 0) ON CONFLICT DO NOTHING

-- name: next_document_number
UPDATE billing.document_counter SET last_number = last_number + 1
WHERE tenant = %(tenant)s AND issuer_id = %(issuer_id)s AND series = %(series)s RETURNING last_number

-- credit notes

-- name: lock_credits
SELECT billing.lock_credits(%(tenant)s, %(statement_id)s)

-- name: credited_lines
-- The highest fraction is the last one: each note adds to it.
SELECT line_number, sum(amount_minor) AS amount_minor, sum(tax_minor) AS tax_minor,
    (array_agg(credited_fraction ORDER BY credit_note_id DESC))[1] AS credited_fraction
FROM billing.credit_note_line WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s GROUP BY line_number

-- name: next_credit_note_id
SELECT nextval('billing.credit_note_id') AS credit_note_id

-- name: insert_credit_note_line
INSERT INTO billing.credit_note_line
    (tenant, credit_note_id, statement_id, line_number, credited_fraction, amount_minor, tax_minor)
VALUES (%(tenant)s, %(credit_note_id)s, %(statement_id)s, %(line_number)s, %(credited_fraction)s,
    %(amount_minor)s, %(tax_minor)s)

-- name: insert_credit_note
INSERT INTO billing.credit_note (credit_note_id, tenant, seller_id, sequence_number, number, statement_id, currency,
    line_count, subtotal_minor, tax_minor, total_minor, reason, requested_by, approved_by, approval_above_minor,
    document, document_sha256, issued_at)
VALUES (%(credit_note_id)s, %(tenant)s, %(seller_id)s, %(sequence_number)s, %(number)s, %(statement_id)s,
    %(currency)s, %(line_count)s, %(subtotal_minor)s, %(tax_minor)s, %(total_minor)s, %(reason)s,
    %(requested_by)s, %(approved_by)s, %(approval_above_minor)s, %(document)s, %(document_sha256)s, %(issued_at)s)

-- name: credit_note_by_id
SELECT credit_note_id, statement_id, document FROM billing.credit_note
WHERE tenant = %(tenant)s AND credit_note_id = %(credit_note_id)s

-- name: credit_notes_of_statement
SELECT credit_note_id, statement_id, document FROM billing.credit_note
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s ORDER BY credit_note_id

-- name: credit_notes
SELECT credit_note_id, statement_id, document FROM billing.credit_note
WHERE tenant = %(tenant)s ORDER BY credit_note_id DESC LIMIT %(limit)s

-- disputes

-- name: next_dispute_id
SELECT nextval('billing.dispute_id') AS dispute_id

-- name: insert_dispute_line
INSERT INTO billing.dispute_line (tenant, dispute_id, statement_id, line_number, amount_minor, tax_minor)
VALUES (%(tenant)s, %(dispute_id)s, %(statement_id)s, %(line_number)s, %(amount_minor)s, %(tax_minor)s)

-- name: insert_dispute
INSERT INTO billing.dispute (dispute_id, tenant, statement_id, state, line_count, reason, opened_by, opened_at)
VALUES (%(dispute_id)s, %(tenant)s, %(statement_id)s, 'open', %(line_count)s, %(reason)s, %(opened_by)s,
    %(opened_at)s)

-- name: decide_dispute
UPDATE billing.dispute SET state = %(state)s, decision_reason = %(decision_reason)s, decided_by = %(decided_by)s,
    decided_at = %(decided_at)s, credit_note_id = %(credit_note_id)s
WHERE tenant = %(tenant)s AND dispute_id = %(dispute_id)s

-- name: disputes
SELECT d.*, s.currency, s.number AS statement_number, l.lines FROM billing.dispute d
JOIN billing.statement s USING (tenant, statement_id)
JOIN LATERAL (
    SELECT array_agg(ARRAY[x.line_number::bigint, x.amount_minor, x.tax_minor] ORDER BY x.line_number) AS lines
    FROM billing.dispute_line x WHERE x.tenant = d.tenant AND x.dispute_id = d.dispute_id
) l ON true
WHERE d.tenant = %(tenant)s AND (%(dispute_id)s::bigint IS NULL OR d.dispute_id = %(dispute_id)s::bigint)
  AND (%(statement_id)s::bigint IS NULL OR d.statement_id = %(statement_id)s::bigint)
ORDER BY d.dispute_id LIMIT %(limit)s

-- name: openly_disputed_lines
SELECT l.line_number FROM billing.dispute_line l JOIN billing.dispute d USING (tenant, dispute_id)
WHERE l.tenant = %(tenant)s AND l.statement_id = %(statement_id)s AND d.state = 'open'

-- name: disputed_amount
-- Of a line no more can be in dispute than credits have left of it; a line is in one open dispute at most.
SELECT coalesce(sum(least(
    l.amount_minor + l.tax_minor, s.amount_minor + s.tax_minor - coalesce(c.credited, 0)
)), 0)::bigint AS amount_minor
FROM billing.dispute_line l JOIN billing.dispute d USING (tenant, dispute_id)
JOIN billing.statement_line s ON s.tenant = l.tenant AND s.statement_id = l.statement_id
    AND s.line_number = l.line_number
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor + x.tax_minor) AS credited FROM billing.credit_note_line x
    WHERE x.tenant = l.tenant AND x.statement_id = l.statement_id AND x.line_number = l.line_number
) c ON true
WHERE l.tenant = %(tenant)s AND l.statement_id = %(statement_id)s AND d.state = 'open'

-- fiscal documents

-- name: lock_fiscal
SELECT billing.lock_fiscal(%(tenant)s)

-- name: next_fiscal_id
SELECT nextval('billing.fiscal_id') AS fiscal_id

-- name: fiscal_covered
SELECT statement_id, credit_note_id, amount_minor, tax_minor FROM billing.fiscal_covered
WHERE tenant = %(tenant)s AND (statement_id = ANY (%(statements)s) OR credit_note_id = ANY (%(credit_notes)s))

-- name: insert_fiscal_item
INSERT INTO billing.fiscal_item (tenant, fiscal_id, item_number, statement_id, credit_note_id, amount_minor, tax_minor)
VALUES (%(tenant)s, %(fiscal_id)s, %(item_number)s, %(statement_id)s, %(credit_note_id)s, %(amount_minor)s,
    %(tax_minor)s)

-- name: insert_fiscal_document
INSERT INTO billing.fiscal_document (fiscal_id, tenant, seller_id, buyer_id, currency, state, item_count,
    amount_minor, tax_minor, total_minor, requested_by, requested_at, changed_by, changed_at)
VALUES (%(fiscal_id)s, %(tenant)s, %(seller_id)s, %(buyer_id)s, %(currency)s, 'requested', %(item_count)s,
    %(amount_minor)s, %(tax_minor)s, %(total_minor)s, %(requested_by)s, %(requested_at)s, %(requested_by)s,
    %(requested_at)s)

-- name: fiscal_documents
SELECT f.*, i.numbers, i.statement_id FROM billing.fiscal_document f JOIN LATERAL (
    SELECT array_agg(coalesce(s.number, n.number) ORDER BY x.item_number) AS numbers,
        min(x.statement_id) AS statement_id
    FROM billing.fiscal_item x
    LEFT JOIN billing.statement s ON s.tenant = x.tenant AND s.statement_id = x.statement_id
    LEFT JOIN billing.credit_note n ON n.tenant = x.tenant AND n.credit_note_id = x.credit_note_id
    WHERE x.tenant = f.tenant AND x.fiscal_id = f.fiscal_id
) i ON true
WHERE f.tenant = %(tenant)s AND (%(states)s::text[] IS NULL OR f.state = ANY (%(states)s::text[]))
  AND (%(fiscal_id)s::bigint IS NULL OR f.fiscal_id = %(fiscal_id)s::bigint)
ORDER BY f.fiscal_id

-- name: move_fiscal
UPDATE billing.fiscal_document SET state = %(state)s, number = %(number)s, issued_on = %(issued_on)s,
    red_number = %(red_number)s, red_on = %(red_on)s, remark = %(remark)s, changed_by = %(changed_by)s,
    changed_at = %(changed_at)s
WHERE tenant = %(tenant)s AND fiscal_id = %(fiscal_id)s

-- reminders

-- name: overdue_statements
SELECT s.statement_id FROM billing.statement_open o JOIN billing.statement s USING (tenant, statement_id)
WHERE s.tenant = %(tenant)s AND s.due_on < %(as_of)s AND o.open_minor > 0 ORDER BY s.statement_id

-- name: insert_reminder
INSERT INTO billing.reminder (tenant, statement_id, level, as_of, open_minor, disputed_minor, payable_minor,
    document, document_sha256, written_at)
VALUES (%(tenant)s, %(statement_id)s, %(level)s, %(as_of)s, %(open_minor)s, %(disputed_minor)s, %(payable_minor)s,
    %(document)s, %(document_sha256)s, %(written_at)s)

-- name: reminders
SELECT statement_id, document FROM billing.reminder
WHERE tenant = %(tenant)s AND (%(statement_id)s::bigint IS NULL OR statement_id = %(statement_id)s::bigint)
ORDER BY written_at, statement_id, level

-- credit requests

-- name: insert_credit_request
INSERT INTO billing.credit_request (tenant, statement_id, lines, reason, state, requested_by, requested_at)
VALUES (%(tenant)s, %(statement_id)s, %(lines)s, %(reason)s, 'requested', %(requested_by)s, %(requested_at)s)
RETURNING request_id

-- name: credit_requests
SELECT r.*, s.number AS statement_number FROM billing.credit_request r JOIN billing.statement s USING (tenant, statement_id)
WHERE r.tenant = %(tenant)s AND (%(request_id)s::bigint IS NULL OR r.request_id = %(request_id)s::bigint)
  AND (%(statement_id)s::bigint IS NULL OR r.statement_id = %(statement_id)s::bigint)
ORDER BY r.request_id

-- name: decide_credit_request
UPDATE billing.credit_request SET state = %(state)s, decided_by = %(decided_by)s, decided_at = %(decided_at)s,
    credit_note_id = %(credit_note_id)s
WHERE tenant = %(tenant)s AND request_id = %(request_id)s

-- ledger check

-- name: check_documents
SELECT format('credit note %%s: its document was changed', n.number) AS problem FROM billing.credit_note n
WHERE n.tenant = %(tenant)s AND encode(sha256(convert_to(n.document, 'UTF8')), 'hex') <> n.document_sha256
UNION ALL
SELECT format('reminder %%s of statement %%s: its document was changed', r.level, r.statement_id)
FROM billing.reminder r
WHERE r.tenant = %(tenant)s AND encode(sha256(convert_to(r.document, 'UTF8')), 'hex') <> r.document_sha256
ORDER BY problem

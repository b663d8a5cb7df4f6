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

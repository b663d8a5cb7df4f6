-- revenue billed ahead of the days that earn it

-- name: insert_deferral
INSERT INTO billing.deferral (tenant, statement_id, line_number, contract_id, account, currency, recognise_from,
    recognise_until, amount_minor)
VALUES (%(tenant)s, %(statement_id)s, %(line_number)s, %(contract_id)s, %(account)s, %(currency)s,
    %(recognise_from)s, %(recognise_until)s, %(amount_minor)s)

-- name: open_deferrals
SELECT * FROM billing.deferral_state
WHERE tenant = %(tenant)s AND left_minor > 0 AND recognise_from < %(until)s
  AND (%(contract_id)s::bigint IS NULL OR contract_id = %(contract_id)s::bigint)
ORDER BY account, currency, statement_id, line_number

-- name: deferrals_of_statement
SELECT s.*, l.amount_minor AS line_minor, coalesce((
    SELECT sum(c.amount_minor) FROM billing.credit_note_line c
    WHERE c.tenant = s.tenant AND c.statement_id = s.statement_id AND c.line_number = s.line_number
), 0) AS line_credited_minor
FROM billing.deferral_state s JOIN billing.statement_line l USING (tenant, statement_id, line_number)
WHERE s.tenant = %(tenant)s AND s.statement_id = %(statement_id)s ORDER BY s.line_number

-- name: deferral_movement_count
SELECT count(*) AS count FROM billing.deferral_movement WHERE tenant = %(tenant)s

-- name: insert_deferral_movement
INSERT INTO billing.deferral_movement (tenant, statement_id, line_number, kind, amount_minor, revenue_minor, until,
    reference, moved_at)
VALUES (%(tenant)s, %(statement_id)s, %(line_number)s, %(kind)s, %(amount_minor)s, %(revenue_minor)s, %(until)s,
    %(reference)s, %(moved_at)s)

-- months of the books

-- name: books_zone
SELECT time_zone FROM billing.books_zone WHERE tenant = %(tenant)s

-- name: insert_books_zone
INSERT INTO billing.books_zone (tenant, time_zone) VALUES (%(tenant)s, %(time_zone)s)

-- name: accounting_month
SELECT * FROM billing.accounting_month WHERE tenant = %(tenant)s AND month = %(month)s

-- name: accounting_periods
SELECT * FROM billing.accounting_period WHERE tenant = %(tenant)s ORDER BY changed_at, month, revision

-- name: closed_until
SELECT max(ends_at) AS closed_until FROM billing.accounting_month
WHERE tenant = %(tenant)s AND state IN ('closed', 'reopening')

-- name: insert_accounting_period
INSERT INTO billing.accounting_period
    (tenant, month, revision, state, starts_at, ends_at, requested_by, approved_by, reason, changed_at)
SELECT %(tenant)s, %(month)s, coalesce(max(revision), 0) + 1, %(state)s, %(starts_at)s, %(ends_at)s,
    %(requested_by)s, %(approved_by)s, %(reason)s, %(changed_at)s
FROM billing.accounting_period WHERE tenant = %(tenant)s AND month = %(month)s

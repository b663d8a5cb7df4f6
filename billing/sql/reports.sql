-- reports of the books: sums over postings, exact. until: exclusive.

-- name: trial_balance
SELECT p.account, p.currency, coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0) AS debit_minor,
    coalesce(-sum(p.amount_minor) FILTER (WHERE p.amount_minor < 0), 0) AS credit_minor
FROM billing.posting p JOIN billing.journal_entry e ON e.tenant = p.tenant AND e.sequence = p.entry_sequence
WHERE p.tenant = %(tenant)s AND e.effective_at < %(until)s
GROUP BY p.account, p.currency ORDER BY p.account, p.currency

-- name: account_movements
SELECT p.account, p.currency, p.amount_minor, e.sequence, e.template, e.reference, e.effective_at
FROM billing.posting p JOIN billing.journal_entry e ON e.tenant = p.tenant AND e.sequence = p.entry_sequence
WHERE p.tenant = %(tenant)s AND (p.account = %(account)s OR split_part(p.account, ':', 1) = %(account)s)
  AND e.effective_at >= %(since)s AND e.effective_at < %(until)s
ORDER BY p.currency, e.effective_at, e.sequence, p.position LIMIT %(limit)s

-- name: account_balances
SELECT p.currency, sum(p.amount_minor) AS balance_minor
FROM billing.posting p JOIN billing.journal_entry e ON e.tenant = p.tenant AND e.sequence = p.entry_sequence
WHERE p.tenant = %(tenant)s AND (p.account = %(account)s OR split_part(p.account, ':', 1) = %(account)s)
  AND e.effective_at < %(until)s
GROUP BY p.currency ORDER BY p.currency

-- name: movements_by_template
SELECT p.account, p.currency, e.template, e.effective_at < %(since)s AS is_before, sum(p.amount_minor) AS amount_minor
FROM billing.posting p JOIN billing.journal_entry e ON e.tenant = p.tenant AND e.sequence = p.entry_sequence
WHERE p.tenant = %(tenant)s AND split_part(p.account, ':', 1) = %(account)s AND e.effective_at < %(until)s
GROUP BY p.account, p.currency, e.template, is_before ORDER BY p.account, p.currency, e.template

-- name: journal_lines
SELECT e.sequence, e.effective_at, e.booked_at, e.template, e.reference, p.position, p.account, p.currency,
    p.amount_minor
FROM billing.journal_entry e JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence
WHERE e.tenant = %(tenant)s AND e.effective_at < %(until)s AND (e.sequence, p.position) > (%(sequence)s, %(position)s)
ORDER BY e.sequence, p.position LIMIT %(limit)s

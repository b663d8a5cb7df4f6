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

-- name: receivable_ageing
-- What each statement still asks by an instant, by how long it has been due then. Negative: paid, then credited.
SELECT a.account, a.currency, a.number, a.due_on, sum(m.amount_minor) AS open_minor
FROM billing.statement_account a JOIN billing.receivable_movement m USING (tenant, statement_id)
WHERE a.tenant = %(tenant)s AND m.effective_at < %(until)s
GROUP BY a.account, a.currency, a.number, a.due_on HAVING sum(m.amount_minor) <> 0
ORDER BY a.account, a.currency, a.due_on, a.number

-- name: control_accounts
-- What each sub-ledger comes to, and what its account in the journal says. Signs as in the journal.
WITH sub_ledger AS (
    SELECT a.account, a.currency, sum(m.amount_minor) AS amount_minor
    FROM billing.statement_account a JOIN billing.receivable_movement m USING (tenant, statement_id)
    WHERE a.tenant = %(tenant)s GROUP BY a.account, a.currency
    UNION ALL
    SELECT 'unapplied_cash:' || p.payer_id, p.currency, -sum(p.amount_minor - coalesce((
            SELECT sum(a.amount_minor) FROM billing.payment_allocation a
            WHERE a.tenant = p.tenant AND a.payment_id = p.payment_id
        ), 0) - coalesce((
            SELECT sum(r.amount_minor) FROM billing.refund r
            JOIN billing.journal_entry e ON e.tenant = r.tenant AND e.idempotency_key = 'refund:' || r.refund_id
            WHERE r.tenant = p.tenant AND r.payment_id = p.payment_id AND NOT EXISTS (
                SELECT 1 FROM billing.journal_entry b
                WHERE b.tenant = r.tenant AND b.idempotency_key = 'refund_back:' || r.refund_id
            )
        ), 0))
    FROM billing.payment p WHERE p.tenant = %(tenant)s GROUP BY p.payer_id, p.currency
    UNION ALL
    SELECT 'tax_payable', currency, -sum(tax_minor) FROM (
        SELECT currency, tax_minor FROM billing.statement WHERE tenant = %(tenant)s
        UNION ALL
        SELECT currency, -tax_minor FROM billing.credit_note WHERE tenant = %(tenant)s
    ) tax GROUP BY currency
    UNION ALL
    SELECT 'prepaid:' || c.name, c.currency, -sum(v.amount_minor) FROM (
        SELECT lot_id, amount_minor FROM billing.wallet_value WHERE tenant = %(tenant)s
        UNION ALL
        SELECT lot_id, -amount_minor FROM billing.wallet_recognition WHERE tenant = %(tenant)s
    ) v JOIN billing.wallet_lot l ON l.tenant = %(tenant)s AND l.lot_id = v.lot_id
    JOIN billing.contract c ON c.tenant = l.tenant AND c.contract_id = l.contract_id GROUP BY c.name, c.currency
    UNION ALL
    SELECT account, currency, -sum(left_minor) FROM billing.deferral_state
    WHERE tenant = %(tenant)s GROUP BY account, currency
), control AS (
    SELECT CASE WHEN split_part(account, ':', 1) = 'tax_payable' THEN 'tax_payable' ELSE account END AS account,
        currency, sum(amount_minor) AS amount_minor
    FROM billing.posting
    WHERE tenant = %(tenant)s
      AND split_part(account, ':', 1) IN ('receivable', 'unapplied_cash', 'tax_payable', 'prepaid', 'deferred_revenue')
    GROUP BY 1, 2
)
SELECT account, currency, coalesce(s.amount_minor, 0) AS sub_ledger_minor, coalesce(c.amount_minor, 0) AS control_minor
FROM sub_ledger s FULL JOIN control c USING (account, currency)
WHERE coalesce(s.amount_minor, 0) <> 0 OR coalesce(c.amount_minor, 0) <> 0 ORDER BY account, currency

-- name: statements_in_dispute
SELECT DISTINCT s.statement_id, s.number FROM billing.dispute d
JOIN billing.statement s USING (tenant, statement_id)
WHERE d.tenant = %(tenant)s AND d.state = 'open' ORDER BY s.number

-- Checks of shares and payouts: each row is a problem, its sentence names the row.

-- name: check_shares_sum_to_basis
SELECT format('statement %%s, line %%s, split %%s: its parts sum to %%s, the line is %%s',
    s.number, a.line_number, a.split, sum(a.amount_minor), min(l.amount_minor)) AS problem
FROM billing.split_allocation a JOIN billing.statement s USING (tenant, statement_id)
JOIN billing.statement_line l USING (tenant, statement_id, line_number)
WHERE a.tenant = %(tenant)s
GROUP BY s.number, a.line_number, a.split
HAVING sum(a.amount_minor) <> min(a.base_minor) OR min(a.base_minor) <> max(a.base_minor)
    OR (min(a.basis) <> 'reserve' AND min(a.base_minor) <> min(l.amount_minor))
ORDER BY s.number, a.line_number, a.split

-- name: check_shares_taken_back
-- What credit notes take off a line is taken off its shares, to the minor unit.
SELECT format('statement %%s, line %%s, split %%s: %%s were credited, its shares gave back %%s',
    s.number, r.line_number, r.split, coalesce(c.credited, 0), r.reversed) AS problem
FROM (
    SELECT tenant, statement_id, line_number, split, sum(reversed_minor) AS reversed FROM billing.split_state
    WHERE tenant = %(tenant)s AND basis <> 'reserve' GROUP BY tenant, statement_id, line_number, split
) r JOIN billing.statement s USING (tenant, statement_id)
LEFT JOIN (
    SELECT tenant, statement_id, line_number, sum(amount_minor) AS credited FROM billing.credit_note_line
    WHERE tenant = %(tenant)s GROUP BY tenant, statement_id, line_number
) c USING (tenant, statement_id, line_number)
WHERE r.reversed <> coalesce(c.credited, 0)
ORDER BY s.number, r.line_number, r.split

-- name: check_released_within_accrued
SELECT format('allocation %%s of %%s: %%s became payable, it has %%s', a.allocation_id, a.party_id,
    a.released_minor, a.amount_minor - a.reversed_minor) AS problem
FROM billing.split_state a
WHERE a.tenant = %(tenant)s AND a.released_minor <> 0 AND (
    a.is_own OR a.basis = 'reserve' OR abs(a.released_minor) > abs(a.amount_minor - a.reversed_minor)
    OR sign(a.released_minor) <> sign(a.amount_minor - a.reversed_minor)
)
ORDER BY a.allocation_id

-- name: check_shares_booked
-- Every payee's accounts in the journal hold what the tables say.
SELECT format('account %%s: the journal has %%s %%s, the shares say %%s', account, coalesce(j.booked, 0), currency,
    coalesce(t.told, 0)) AS problem
FROM (
    SELECT account, currency, sum(told) AS told FROM (
        SELECT 'split_accrued:' || party_id AS account, currency,
            -(amount_minor - reversed_minor - released_minor) AS told
        FROM billing.split_state WHERE tenant = %(tenant)s AND NOT is_own AND basis <> 'reserve'
        UNION ALL
        SELECT 'reserve:' || party_id, currency, -(amount_minor - reversed_minor)
        FROM billing.split_state WHERE tenant = %(tenant)s AND is_own AND basis = 'reserve'
        UNION ALL
        SELECT 'split_payable:' || party_id, currency, -amount_minor FROM billing.party_movement
        WHERE tenant = %(tenant)s
        UNION ALL
        SELECT 'advance:' || party_id, currency, amount_minor FROM billing.party_movement
        WHERE tenant = %(tenant)s AND (kind = 'recouped' OR reference LIKE 'advance:%%')
        UNION ALL
        SELECT 'advance:' || party_id, currency, amount_minor FROM billing.payout
        WHERE tenant = %(tenant)s AND kind = 'advance' AND state = 'confirmed'
    ) told GROUP BY account, currency
) t FULL JOIN (
    SELECT account, currency, sum(amount_minor) AS booked FROM billing.posting
    WHERE tenant = %(tenant)s
      AND split_part(account, ':', 1) IN ('split_accrued', 'split_payable', 'advance', 'reserve')
    GROUP BY account, currency
) j USING (account, currency)
WHERE coalesce(j.booked, 0) <> coalesce(t.told, 0)
ORDER BY account, currency

-- name: check_payouts_moved
-- A payout moves its payee's account by its amount while it is confirmed, and not otherwise.
SELECT format('payout %%s is %%s: it moved %%s of %%s', p.payout_id, p.state, coalesce(m.moved, 0), p.amount_minor) AS problem
FROM billing.payout p LEFT JOIN (
    SELECT tenant, reference, sum(amount_minor) AS moved FROM billing.party_movement
    WHERE tenant = %(tenant)s AND kind IN ('payout_sent', 'payout_returned') GROUP BY tenant, reference
) m ON m.tenant = p.tenant AND m.reference = 'payout:' || p.payout_id
WHERE p.tenant = %(tenant)s AND p.kind = 'statement'
  AND coalesce(m.moved, 0) <> CASE WHEN p.state = 'confirmed' THEN -p.amount_minor ELSE 0 END
ORDER BY p.payout_id

-- name: check_payout_statements
SELECT format('payout statement %%s: %%s', s.number, w.wrong) AS problem
FROM billing.payout_statement s
LEFT JOIN LATERAL (
    SELECT coalesce(sum(m.amount_minor), 0) AS moved FROM billing.payout_statement_movement x
    JOIN billing.party_movement m USING (tenant, movement_id)
    WHERE x.tenant = s.tenant AND x.payout_statement_id = s.payout_statement_id
) m ON true
LEFT JOIN LATERAL (
    SELECT b.closing_minor FROM billing.payout_statement b
    WHERE b.tenant = s.tenant AND (b.seller_id, b.party_id, b.currency) = (s.seller_id, s.party_id, s.currency)
      AND b.period_start < s.period_start ORDER BY b.period_start DESC LIMIT 1
) b ON true
CROSS JOIN LATERAL (VALUES
    (CASE WHEN encode(sha256(convert_to(s.document, 'UTF8')), 'hex') <> s.document_sha256
        THEN 'its document was changed' END),
    (CASE WHEN m.moved <> s.moved_minor THEN 'it does not sum its movements' END),
    (CASE WHEN coalesce(b.closing_minor, 0) <> s.opening_minor THEN 'it does not continue the last one' END)
) w (wrong)
WHERE s.tenant = %(tenant)s AND w.wrong IS NOT NULL
ORDER BY s.number, w.wrong

-- name: check_payout_statement_numbers
SELECT format('payout statement numbers of %%s: counted to %%s, the highest is %%s, there are %%s', c.issuer_id,
    c.last_number, coalesce(max(s.sequence_number), 0), count(s.*)) AS problem
FROM billing.document_counter c LEFT JOIN billing.payout_statement s
    ON s.tenant = c.tenant AND s.seller_id = c.issuer_id
WHERE c.tenant = %(tenant)s AND c.series = 'PO'
GROUP BY c.issuer_id, c.last_number
HAVING count(s.*) <> c.last_number OR coalesce(max(s.sequence_number), 0) <> c.last_number
ORDER BY c.issuer_id

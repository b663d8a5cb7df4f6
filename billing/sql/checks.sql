-- ledger check: each query names the rows that break an invariant, one sentence in `problem`; none when sound

-- name: check_unbalanced_entries
SELECT format('journal entry %%s: its postings sum to %%s minor units of %%s', entry_sequence, sum(amount_minor), currency)
    AS problem
FROM billing.posting WHERE tenant = %(tenant)s
GROUP BY entry_sequence, currency HAVING sum(amount_minor) <> 0 ORDER BY entry_sequence

-- name: check_postings_without_entry
SELECT DISTINCT format('posting of entry %%s: there is no such entry', p.entry_sequence) AS problem
FROM billing.posting p WHERE p.tenant = %(tenant)s AND NOT EXISTS (
    SELECT 1 FROM billing.journal_entry e WHERE e.tenant = p.tenant AND e.sequence = p.entry_sequence
)

-- name: check_closed_months
SELECT format('journal entry %%s: booked into %%s after it was closed', e.sequence, to_char(m.month, 'YYYY-MM')) AS problem
FROM billing.accounting_month m
JOIN billing.journal_entry e ON e.tenant = m.tenant AND e.effective_at < m.ends_at AND e.sequence > m.head_sequence
WHERE m.tenant = %(tenant)s AND m.state IN ('closed', 'reopening') ORDER BY e.sequence

-- name: check_two_people
SELECT problem FROM (
    SELECT format('%%s of the books: %%s by one person', to_char(month, 'YYYY-MM'), state) AS problem
    FROM billing.accounting_period p
    WHERE tenant = %(tenant)s AND (
        approved_by = requested_by
        OR (approved_by IS NULL AND (state = 'open' OR (state = 'closed' AND NOT EXISTS (
            SELECT 1 FROM billing.accounting_period b WHERE b.tenant = p.tenant AND b.month = p.month
            AND b.revision = p.revision - 1 AND b.state = 'reopening'
        ))))
    )
    UNION ALL
    SELECT format('credit note %%s: approved by whoever asked for it, or by nobody', number) FROM billing.credit_note
    WHERE tenant = %(tenant)s AND (
        approved_by = requested_by OR (approved_by IS NULL AND total_minor > approval_above_minor)
    )
    UNION ALL
    SELECT format('refund %%s: approved by whoever asked for it, or by nobody', refund_id) FROM billing.refund
    WHERE tenant = %(tenant)s AND kind = 'refund' AND approved_by IS NOT DISTINCT FROM requested_by
    UNION ALL
    SELECT format('write-off %%s: approved by whoever asked for it', write_off_id) FROM billing.write_off
    WHERE tenant = %(tenant)s AND approved_by = requested_by
    UNION ALL
    SELECT format('payout %%s: approved by whoever asked for it, by its payee, or by nobody', payout_id) FROM billing.payout
    WHERE tenant = %(tenant)s AND state NOT IN ('requested', 'cancelled') AND (
        approved_by IS NULL OR approved_by IN (requested_by, party_id) OR approver_party = party_id
    )
) found ORDER BY problem

-- name: check_events_decided
SELECT format('usage event %%s: nothing was decided about it', e.ingest_sequence) AS problem FROM billing.usage_event e
WHERE e.tenant = %(tenant)s AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision d WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
) ORDER BY e.ingest_sequence

-- name: check_events_decided_once
SELECT format('usage event %%s: %%s decisions without an order', ingest_sequence, count(*)) AS problem
FROM billing.event_decision WHERE tenant = %(tenant)s
GROUP BY ingest_sequence HAVING max(revision) <> count(*) OR min(revision) <> 1 ORDER BY ingest_sequence

-- name: check_decisions_refer
SELECT format('decision %%s: there is no such event, or no such version of a contract', d.decision_sequence) AS problem
FROM billing.event_decision d
LEFT JOIN billing.usage_event e ON e.tenant = d.tenant AND e.ingest_sequence = d.ingest_sequence AND e.kind = d.kind
LEFT JOIN billing.contract_version v ON v.tenant = d.tenant AND v.contract_id = d.contract_id
    AND v.version = d.contract_version
WHERE d.tenant = %(tenant)s AND (
    e.tenant IS NULL OR (v.tenant IS NULL AND d.contract_id IS NOT NULL AND d.contract_version IS NOT NULL)
) ORDER BY d.decision_sequence

-- name: check_charged_events_were_billable
SELECT format('usage event %%s: on a statement and never decided billable', s.ingest_sequence) AS problem
FROM billing.statement_event s WHERE s.tenant = %(tenant)s AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision d WHERE d.tenant = s.tenant AND d.ingest_sequence = s.ingest_sequence
    AND d.outcome = 'billable'
) ORDER BY s.ingest_sequence

-- name: check_credits_within_lines
SELECT format('statement %%s line %%s: %%s credited of %%s, tax %%s of %%s', s.number, l.line_number, c.amount, l.amount_minor,
    c.tax, l.tax_minor) AS problem
FROM (
    SELECT statement_id, line_number, sum(amount_minor) AS amount, sum(tax_minor) AS tax,
        (array_agg(credited_fraction ORDER BY credit_note_id DESC))[1] = '1' AS is_whole
    FROM billing.credit_note_line WHERE tenant = %(tenant)s GROUP BY statement_id, line_number
) c
JOIN billing.statement_line l ON l.tenant = %(tenant)s AND l.statement_id = c.statement_id AND l.line_number = c.line_number
JOIN billing.statement s ON s.tenant = l.tenant AND s.statement_id = l.statement_id
WHERE NOT (c.amount BETWEEN least(0, l.amount_minor) AND greatest(0, l.amount_minor)
    AND c.tax BETWEEN least(0, l.tax_minor) AND greatest(0, l.tax_minor))
   OR (c.is_whole AND (c.amount, c.tax) <> (l.amount_minor, l.tax_minor))
ORDER BY s.number, l.line_number

-- name: check_credit_note_sums
SELECT format('credit note %%s: its lines sum to %%s and tax %%s, it says %%s and %%s', n.number, coalesce(sum(l.amount_minor), 0),
    coalesce(sum(l.tax_minor), 0), n.subtotal_minor, n.tax_minor) AS problem
FROM billing.credit_note n LEFT JOIN billing.credit_note_line l USING (tenant, credit_note_id)
WHERE n.tenant = %(tenant)s GROUP BY n.number, n.subtotal_minor, n.tax_minor
HAVING (coalesce(sum(l.amount_minor), 0), coalesce(sum(l.tax_minor), 0)) <> (n.subtotal_minor, n.tax_minor)
ORDER BY n.number

-- name: check_credit_note_numbers
SELECT format('credit notes of %%s: counted to %%s, the highest is %%s, there are %%s', c.issuer_id, c.last_number,
    coalesce(max(n.sequence_number), 0), count(n.*)) AS problem
FROM billing.document_counter c
LEFT JOIN billing.credit_note n ON n.tenant = c.tenant AND n.seller_id = c.issuer_id
WHERE c.tenant = %(tenant)s AND c.series = 'CN' GROUP BY c.issuer_id, c.last_number
HAVING (count(n.*), coalesce(max(n.sequence_number), 0)) <> (c.last_number, c.last_number) ORDER BY c.issuer_id

-- name: check_payments_allocated
SELECT format('payment %%s: %%s more is allocated and refunded than came in', payment_id, -unapplied_minor) AS problem
FROM billing.payment_unapplied WHERE tenant = %(tenant)s AND unapplied_minor < 0 ORDER BY payment_id

-- name: check_statements_paid
SELECT format('statement %%s: asked %%s, %%s is paid and written off', number, total_minor, allocated_minor + written_off_minor)
    AS problem
FROM billing.statement_open
WHERE tenant = %(tenant)s AND (allocated_minor + written_off_minor > total_minor OR allocated_minor < 0) ORDER BY number

-- name: check_receivables_booked
-- Each fact that changes what is owed has the entry that booked it, and the entry moves the same amount.
SELECT format('%%s %%s: moves what is owed by %%s, the journal by %%s', m.kind, m.source_id, m.amount_minor,
    coalesce(p.amount_minor, 0)) AS problem
FROM billing.receivable_movement m
LEFT JOIN (
    SELECT entry_sequence, sum(amount_minor) AS amount_minor FROM billing.posting
    WHERE tenant = %(tenant)s AND split_part(account, ':', 1) = 'receivable' GROUP BY entry_sequence
) p USING (entry_sequence)
WHERE m.tenant = %(tenant)s AND m.amount_minor <> coalesce(p.amount_minor, 0) ORDER BY m.kind, m.source_id

-- name: check_intent_before_call
SELECT format('rail operation %%s: it was %%s before it was intended', t.operation_id, t.state) AS problem
FROM (
    SELECT DISTINCT ON (operation_id) operation_id, state FROM billing.rail_transition
    WHERE tenant = %(tenant)s ORDER BY operation_id, transition_id
) t WHERE t.state <> 'intent' ORDER BY t.operation_id

-- name: check_rail_operation_kept
SELECT format('rail operation %%s: it is %%s, its last transition says %%s', o.operation_id, o.state, coalesce(t.state, 'nothing'))
    AS problem
FROM billing.rail_operation o
LEFT JOIN LATERAL (
    SELECT state FROM billing.rail_transition t WHERE t.tenant = o.tenant AND t.operation_id = o.operation_id
    ORDER BY t.transition_id DESC LIMIT 1
) t ON true
WHERE o.tenant = %(tenant)s AND o.state IS DISTINCT FROM t.state ORDER BY o.operation_id

-- name: check_deferrals
SELECT format('statement %%s line %%s: deferred %%s, %%s became revenue and %%s was credited', statement_id, line_number,
    amount_minor, earned_minor, credited_minor) AS problem
FROM billing.deferral_state WHERE tenant = %(tenant)s AND (left_minor < 0 OR credited_minor > amount_minor)
ORDER BY statement_id, line_number

-- name: check_identifiers
-- Five numbers with dots between them and more are a UID by form: nothing that leaves the books may hold one.
SELECT format('%%s %%s: %%s holds what is shaped like a UID', t.kind, t.name, t.field) AS problem FROM (
    SELECT 'statement' AS kind, number AS name, 'its document' AS field, document AS text
    FROM billing.statement WHERE tenant = %(tenant)s
    UNION ALL
    SELECT 'credit note', number, 'its document', document FROM billing.credit_note WHERE tenant = %(tenant)s
    UNION ALL
    SELECT 'payout statement', number, 'its document', document FROM billing.payout_statement
    WHERE tenant = %(tenant)s
    UNION ALL
    SELECT 'journal entry', sequence::text, 'its reference', reference FROM billing.journal_entry
    WHERE tenant = %(tenant)s
    UNION ALL
    SELECT 'posting of entry', entry_sequence::text, 'its account', account FROM billing.posting
    WHERE tenant = %(tenant)s
    UNION ALL
    SELECT 'rail operation', operation_id::text, 'what the rail answered', detail FROM billing.rail_transition
    WHERE tenant = %(tenant)s
) t WHERE t.text ~ '(^|[^0-9.])[0-9]+([.][0-9]+){4,}($|[^0-9.])' ORDER BY t.kind, t.name

-- Every query of billing, by name. Parameters are bound, never pasted.

-- meter

-- name: lock_for_recording
SELECT pg_advisory_xact_lock_shared(hashtextextended('radmeter.billing:' || %(tenant)s, 0))

-- name: lock_for_cutoff
SELECT pg_advisory_xact_lock(hashtextextended('radmeter.billing:' || %(tenant)s, 0))

-- name: usage_by_id
SELECT * FROM billing.current_usage
WHERE tenant = %(tenant)s AND source = %(source)s AND event_id = %(event_id)s

-- contracts

-- name: contract_by_name
SELECT c.*, v.version, v.effective_from, v.source_sha256 FROM billing.contract c
JOIN billing.contract_version v USING (tenant, contract_id)
WHERE c.tenant = %(tenant)s AND c.name = %(name)s ORDER BY v.version DESC LIMIT 1

-- name: period_billed_after
SELECT 1 FROM billing.period
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND ends_at > %(effective_at)s LIMIT 1

-- name: product_used_after
SELECT product, meter FROM billing.billable_usage
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND occurred_at >= %(effective_at)s
  AND product || ' ' || meter <> ALL (%(priced)s) LIMIT 1

-- name: overlapping_contract
-- Another contract overlaps where a version of it that is in force at effective_at, or comes later, prices
-- one of the products.
SELECT r.product, c.name FROM billing.contract_rate r
JOIN billing.contract_version v USING (tenant, contract_id, version)
JOIN billing.contract c USING (tenant, contract_id)
WHERE r.tenant = %(tenant)s AND r.product = ANY (%(products)s)
  AND r.contract_id IS DISTINCT FROM %(contract_id)s::bigint
  AND NOT EXISTS (
    SELECT 1 FROM billing.contract_version later WHERE later.tenant = v.tenant
    AND later.contract_id = v.contract_id AND later.version = v.version + 1
    AND later.effective_at <= %(effective_at)s
  )
ORDER BY r.product LIMIT 1

-- name: upsert_party
INSERT INTO billing.party (tenant, party_id, legal_name) VALUES (%(tenant)s, %(party_id)s, %(legal_name)s)
ON CONFLICT (tenant, party_id) DO UPDATE SET legal_name = excluded.legal_name

-- name: insert_contract
INSERT INTO billing.contract
    (tenant, name, seller_id, buyer_id, currency, time_zone, anchor_day, first_day)
VALUES (%(tenant)s, %(name)s, %(seller_id)s, %(buyer_id)s, %(currency)s, %(time_zone)s, %(anchor_day)s,
    %(first_day)s)
RETURNING contract_id

-- name: insert_version
INSERT INTO billing.contract_version
    (tenant, contract_id, version, effective_from, effective_at, source_text, source_sha256)
VALUES (%(tenant)s, %(contract_id)s, %(version)s, %(effective_from)s, %(effective_at)s, %(source_text)s,
    %(source_sha256)s)

-- name: insert_rate
INSERT INTO billing.contract_rate (tenant, contract_id, version, product, meter, pricing_model)
VALUES (%(tenant)s, %(contract_id)s, %(version)s, %(product)s, %(meter)s, %(pricing_model)s)

-- name: latest_versions
SELECT DISTINCT ON (c.contract_id) c.contract_id, c.first_day, v.version, v.source_text
FROM billing.contract c JOIN billing.contract_version v USING (tenant, contract_id)
WHERE c.tenant = %(tenant)s ORDER BY c.contract_id, v.version DESC

-- name: version_at
SELECT c.contract_id, c.first_day, v.version, v.source_text
FROM billing.contract c JOIN billing.contract_version v USING (tenant, contract_id)
WHERE c.tenant = %(tenant)s AND c.contract_id = %(contract_id)s AND v.effective_at <= %(instant)s
ORDER BY v.effective_at DESC LIMIT 1

-- usage

-- name: usage_of_study
SELECT * FROM billing.current_usage
WHERE tenant = %(tenant)s AND study_ref = %(study_ref)s ORDER BY ingest_sequence

-- name: usage_of_issued
-- Everything of the period that was decided by the cutoff, as it was decided then, and events of earlier periods
-- that the statement charged or took off. A union, not an OR: each part has an index.
SELECT e.*, d.decision_sequence, d.revision, d.outcome, d.reason_code, d.explanation, d.contract_id,
    d.contract_version, s.statement_id
FROM (
    SELECT o.ingest_sequence FROM billing.usage_event o
    WHERE o.tenant = %(tenant)s AND o.occurred_at >= %(start_at)s AND o.occurred_at < %(end_at)s
    UNION
    SELECT c.ingest_sequence FROM billing.statement_event c
    WHERE c.tenant = %(tenant)s AND c.statement_id = %(statement_id)s
    UNION
    SELECT v.ingest_sequence FROM billing.statement_void v
    WHERE v.tenant = %(tenant)s AND v.statement_id = %(statement_id)s
) shown
JOIN billing.usage_event e ON e.tenant = %(tenant)s AND e.ingest_sequence = shown.ingest_sequence
JOIN LATERAL (
    SELECT * FROM billing.event_decision d WHERE d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence
    AND d.decision_sequence <= %(cutoff)s ORDER BY d.revision DESC LIMIT 1
) d ON true
LEFT JOIN billing.statement_event s ON s.tenant = e.tenant AND s.ingest_sequence = e.ingest_sequence
WHERE d.contract_id = %(contract_id)s
ORDER BY e.occurred_at, e.ingest_sequence

-- name: usage_of_draft
-- Everything of the period so far, and events of earlier billed periods that no statement charged or took off yet.
SELECT u.* FROM billing.current_usage u
WHERE u.tenant = %(tenant)s AND u.contract_id = %(contract_id)s AND u.decision_sequence <= %(cutoff)s AND (
    (u.occurred_at >= %(start_at)s AND u.occurred_at < %(end_at)s)
    OR (u.outcome = 'billable' AND u.statement_id IS NULL AND EXISTS (
        SELECT 1 FROM billing.period p WHERE p.tenant = u.tenant AND p.contract_id = u.contract_id
        AND p.starts_on < %(starts_on)s AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
    ))
    OR (u.occurred_at < %(start_at)s AND EXISTS (
        SELECT 1 FROM billing.void_not_taken_off v
        WHERE v.tenant = u.tenant AND v.ingest_sequence = u.ingest_sequence
    ))
)
ORDER BY u.occurred_at, u.ingest_sequence

-- name: last_decision
SELECT coalesce(max(decision_sequence), 0) AS last FROM billing.event_decision WHERE tenant = %(tenant)s

-- name: not_billable_counts
SELECT d.reason_code, count(*) AS event_count
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %(tenant)s AND d.contract_id = %(contract_id)s AND d.outcome = 'not_billable'
  AND d.decision_sequence <= %(cutoff)s AND e.occurred_at >= %(start_at)s AND e.occurred_at < %(end_at)s
  AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant AND later.revision > 1
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
    AND later.decision_sequence <= %(cutoff)s
  )
GROUP BY d.reason_code ORDER BY d.reason_code

-- name: quarantined_count
SELECT count(*) AS event_count
FROM billing.event_decision d JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %(tenant)s AND d.outcome = 'quarantined' AND e.occurred_at < %(end_at)s
  AND coalesce(d.contract_id, %(contract_id)s) = %(contract_id)s
  AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
  )

-- name: periods_with_late_usage
-- Or with usage that was charged and is void.
SELECT p.starts_on, p.ends_on, p.full_days FROM billing.period p
WHERE p.tenant = %(tenant)s AND p.contract_id = %(contract_id)s AND p.starts_on < %(starts_on)s AND (EXISTS (
    SELECT 1 FROM billing.billable_usage u
    WHERE u.tenant = p.tenant AND u.contract_id = p.contract_id
      AND u.decision_sequence > p.cutoff_sequence AND u.decision_sequence <= %(cutoff)s
      AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
      AND NOT EXISTS (
        SELECT 1 FROM billing.statement_event s
        WHERE s.tenant = u.tenant AND s.ingest_sequence = u.ingest_sequence
      )
) OR EXISTS (
    SELECT 1 FROM billing.void_not_taken_off v
    WHERE v.tenant = p.tenant AND v.contract_id = p.contract_id AND v.void_sequence <= %(cutoff)s
      AND v.occurred_at >= p.starts_at AND v.occurred_at < p.ends_at
)) ORDER BY p.starts_on

-- name: billed_lines
SELECT l.line_key, sum(l.quantity) AS quantity, sum(l.amount_minor) AS amount_minor
FROM billing.statement_line l JOIN billing.statement s USING (tenant, statement_id)
WHERE l.tenant = %(tenant)s AND s.contract_id = %(contract_id)s AND l.service_start = %(starts_on)s
  AND (%(payer_id)s::text IS NULL OR s.payer_id = %(payer_id)s::text)
GROUP BY l.line_key

-- statements

-- name: statements
SELECT s.statement_id, s.document FROM billing.statement s
WHERE s.tenant = %(tenant)s AND (%(payer_id)s::text IS NULL OR s.payer_id = %(payer_id)s::text)
ORDER BY s.issued_at DESC, s.statement_id DESC LIMIT %(limit)s

-- name: statement_by_id
SELECT statement_id, document FROM billing.statement
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s

-- name: statement_by_period
SELECT statement_id, document FROM billing.statement
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND period_start = %(starts_on)s
ORDER BY statement_id

-- name: billed_periods
SELECT starts_on FROM billing.period WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s

-- name: insert_counter
INSERT INTO billing.statement_counter (tenant, seller_id, last_number) VALUES (%(tenant)s, %(seller_id)s, 0)
ON CONFLICT DO NOTHING

-- name: next_number
UPDATE billing.statement_counter SET last_number = last_number + 1
WHERE tenant = %(tenant)s AND seller_id = %(seller_id)s RETURNING last_number

-- name: next_statement_id
SELECT nextval('billing.statement_id') AS statement_id

-- name: insert_period
INSERT INTO billing.period
    (tenant, contract_id, starts_on, ends_on, starts_at, ends_at, full_days, cutoff_sequence, closed_at)
VALUES (%(tenant)s, %(contract_id)s, %(starts_on)s, %(ends_on)s, %(start_at)s, %(end_at)s, %(full_days)s,
    %(cutoff)s, %(closed_at)s)

-- name: insert_line
INSERT INTO billing.statement_line (tenant, statement_id, line_number, line_key, kind, product, service_start,
    service_end, quantity, exact_amount, amount_minor, tax_minor)
VALUES (%(tenant)s, %(statement_id)s, %(line_number)s, %(line_key)s, %(kind)s, %(product)s,
    %(service_start)s, %(service_end)s, %(quantity)s, %(exact_amount)s, %(amount_minor)s, %(tax_minor)s)

-- name: insert_events
INSERT INTO billing.statement_event (tenant, ingest_sequence, statement_id, service_start)
SELECT tenant, ingest_sequence, %(statement_id)s, %(starts_on)s FROM billing.billable_usage
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND decision_sequence <= %(cutoff)s
  AND occurred_at >= %(start_at)s AND occurred_at < %(end_at)s

-- name: insert_late_events
INSERT INTO billing.statement_event (tenant, ingest_sequence, statement_id, service_start)
SELECT u.tenant, u.ingest_sequence, %(statement_id)s, p.starts_on FROM billing.period p
JOIN billing.billable_usage u ON u.tenant = p.tenant AND u.contract_id = p.contract_id
    AND u.decision_sequence > p.cutoff_sequence AND u.decision_sequence <= %(cutoff)s
    AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
WHERE p.tenant = %(tenant)s AND p.contract_id = %(contract_id)s AND p.starts_on < %(starts_on)s
  AND NOT EXISTS (
    SELECT 1 FROM billing.statement_event s
    WHERE s.tenant = u.tenant AND s.ingest_sequence = u.ingest_sequence
  )

-- name: insert_voids
INSERT INTO billing.statement_void (tenant, ingest_sequence, statement_id, service_start)
SELECT v.tenant, v.ingest_sequence, %(statement_id)s, p.starts_on FROM billing.period p
JOIN billing.void_not_taken_off v ON v.tenant = p.tenant AND v.contract_id = p.contract_id
    AND v.void_sequence <= %(cutoff)s AND v.occurred_at >= p.starts_at AND v.occurred_at < p.ends_at
WHERE p.tenant = %(tenant)s AND p.contract_id = %(contract_id)s AND p.starts_on < %(starts_on)s

-- name: insert_statement
INSERT INTO billing.statement (statement_id, tenant, seller_id, payer_id, sequence_number, number, contract_id,
    contract_version, period_start, currency, line_count, subtotal_minor, tax_minor, total_minor,
    cutoff_sequence, inputs_digest, output_digest, rating_version, document, document_sha256, issued_at, due_on)
VALUES (%(statement_id)s, %(tenant)s, %(seller_id)s, %(payer_id)s, %(sequence_number)s, %(number)s, %(contract_id)s,
    %(contract_version)s, %(period_start)s, %(currency)s, %(line_count)s, %(subtotal_minor)s, %(tax_minor)s,
    %(total_minor)s, %(cutoff_sequence)s, %(inputs_digest)s, %(output_digest)s, %(rating_version)s,
    %(document)s, %(document_sha256)s, %(issued_at)s, %(due_on)s)

-- ledger

-- name: insert_head
INSERT INTO billing.ledger_head (tenant, sequence, hash) VALUES (%(tenant)s, 0, %(hash)s)
ON CONFLICT DO NOTHING

-- name: lock_head
SELECT sequence, hash FROM billing.ledger_head WHERE tenant = %(tenant)s FOR UPDATE

-- name: entry_by_key
SELECT sequence, idempotency_key, template, hash FROM billing.journal_entry
WHERE tenant = %(tenant)s AND idempotency_key = %(idempotency_key)s

-- name: insert_postings
INSERT INTO billing.posting (tenant, entry_sequence, position, account, currency, amount_minor)
SELECT %(tenant)s, %(sequence)s, p.position, p.account, p.currency, p.amount_minor
FROM unnest(%(accounts)s::text[], %(currencies)s::text[], %(amounts)s::bigint[])
    WITH ORDINALITY AS p (account, currency, amount_minor, position)

-- name: insert_entry
INSERT INTO billing.journal_entry (tenant, sequence, idempotency_key, template, reference, effective_at,
    booked_at, prev_hash, hash)
VALUES (%(tenant)s, %(sequence)s, %(idempotency_key)s, %(template)s, %(reference)s, %(effective_at)s,
    %(booked_at)s, %(prev_hash)s, %(hash)s)

-- name: postings_of_entry
SELECT account, currency, amount_minor FROM billing.posting
WHERE tenant = %(tenant)s AND entry_sequence = %(sequence)s ORDER BY position

-- ledger check

-- name: journal_entries
SELECT e.*, p.accounts, p.currencies, p.amounts FROM (
    SELECT * FROM billing.journal_entry WHERE tenant = %(tenant)s AND sequence > %(after)s
    ORDER BY sequence LIMIT %(limit)s
) e CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(account ORDER BY position), '{}') AS accounts,
        coalesce(array_agg(currency ORDER BY position), '{}') AS currencies,
        coalesce(array_agg(amount_minor ORDER BY position), '{}') AS amounts
    FROM billing.posting p WHERE p.tenant = e.tenant AND p.entry_sequence = e.sequence
) p ORDER BY e.sequence

-- name: ledger_head
SELECT sequence, hash FROM billing.ledger_head WHERE tenant = %(tenant)s

-- name: statements_with_receivable
SELECT s.*, coalesce((
    SELECT sum(p.amount_minor) FROM billing.journal_entry e
    JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence
    WHERE e.tenant = s.tenant AND e.reference = s.number AND p.account LIKE 'receivable:%%'
), 0) AS receivable_minor
FROM billing.statement s WHERE s.tenant = %(tenant)s ORDER BY s.statement_id

-- name: lines_of_statement
SELECT line_key, amount_minor, tax_minor FROM billing.statement_line
WHERE tenant = %(tenant)s AND statement_id = %(statement_id)s ORDER BY line_number

-- name: billable_but_not_on_statement
SELECT u.ingest_sequence, s.number FROM billing.period p
JOIN billing.statement s
    ON s.tenant = p.tenant AND s.contract_id = p.contract_id AND s.period_start = p.starts_on
JOIN billing.billable_usage u ON u.tenant = p.tenant AND u.contract_id = p.contract_id
    AND u.decision_sequence <= p.cutoff_sequence
    AND u.occurred_at >= p.starts_at AND u.occurred_at < p.ends_at
WHERE p.tenant = %(tenant)s AND NOT EXISTS (
    SELECT 1 FROM billing.statement_event x
    WHERE x.tenant = u.tenant AND x.ingest_sequence = u.ingest_sequence
)
ORDER BY u.ingest_sequence

-- name: statement_numbers
SELECT c.seller_id, c.last_number, count(s.*) AS statement_count,
    coalesce(max(s.sequence_number), 0) AS highest
FROM billing.statement_counter c LEFT JOIN billing.statement s USING (tenant, seller_id)
WHERE c.tenant = %(tenant)s GROUP BY c.seller_id, c.last_number ORDER BY c.seller_id

-- name: events_page
SELECT * FROM billing.usage_event
WHERE tenant = %(tenant)s AND ingest_sequence > %(after)s ORDER BY ingest_sequence LIMIT %(limit)s

-- name: cases_charged_twice
SELECT contract_id, case_key, count(*) AS decision_count FROM billing.event_decision d
WHERE tenant = %(tenant)s AND outcome = 'billable' AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant AND later.revision > 1
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
)
GROUP BY contract_id, case_key HAVING count(*) > 1 ORDER BY contract_id, case_key

-- name: billable_but_not_delivered
SELECT ingest_sequence, kind FROM billing.event_decision
WHERE tenant = %(tenant)s AND outcome = 'billable' AND kind NOT IN ('result_delivered', 'usage', 'outcome')
ORDER BY ingest_sequence

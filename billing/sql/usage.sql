-- Recording usage and deciding about it, a batch at a time.

-- name: lock_for_deciding_again
SELECT pg_advisory_xact_lock(hashtextextended('radmeter.billing.again:' || %(tenant)s, 0))

-- name: insert_events_new
-- In the order of their ids, so that two batches with the same events cannot wait for each other.
WITH made AS (
    INSERT INTO billing.usage_event (tenant, source, event_id, kind, product, quantity, occurred_at, received_at,
        study_ref, case_key, dimensions, evidence, payload_hash, amount_minor, amount_currency, meter)
    SELECT %(tenant)s, source, event_id, kind, product, quantity::numeric, occurred_at::timestamptz, %(received_at)s,
        study_ref, case_key, dimensions::jsonb, evidence::jsonb, decode(hash, 'hex'), amount_minor::bigint,
        amount_currency, meter
    FROM unnest(
        string_to_array(%(source)s, E'\x1f'), string_to_array(%(event_id)s, E'\x1f'),
        string_to_array(%(kind)s, E'\x1f'), string_to_array(%(product)s, E'\x1f'),
        string_to_array(%(quantity)s, E'\x1f'), string_to_array(%(occurred_at)s, E'\x1f'),
        string_to_array(%(study_ref)s, E'\x1f'), string_to_array(%(case_key)s, E'\x1f'),
        string_to_array(%(dimensions)s, E'\x1f'), string_to_array(%(evidence)s, E'\x1f'),
        string_to_array(%(hash)s, E'\x1f'), string_to_array(%(amount_minor)s, E'\x1f', ''),
        string_to_array(%(amount_currency)s, E'\x1f', ''), string_to_array(%(meter)s, E'\x1f')
    ) AS sent (source, event_id, kind, product, quantity, occurred_at, study_ref, case_key, dimensions, evidence,
        hash, amount_minor, amount_currency, meter)
    ON CONFLICT (tenant, source, event_id) DO NOTHING
    RETURNING source, event_id, ingest_sequence
)
SELECT string_agg(source, E'\x1f') AS sources, string_agg(event_id, E'\x1f') AS event_ids,
    string_agg(ingest_sequence::text, E'\x1f') AS sequences
FROM made

-- name: versions_of_products
-- Every version that prices one of the products, with the instant at which the next version takes over.
SELECT r.product, r.meter, v.contract_id, v.version, v.effective_at, v.ends_at, EXISTS (
    SELECT 1 FROM billing.contract_prepaid p WHERE p.tenant = r.tenant AND p.contract_id = r.contract_id
    AND p.version = r.version AND p.product = r.product
) AS is_prepaid
FROM (
    SELECT tenant, contract_id, version, effective_at, coalesce(
        lead(effective_at) OVER (PARTITION BY contract_id ORDER BY effective_at), '9999-01-01Z'
    ) AS ends_at
    FROM billing.contract_version WHERE tenant = %(tenant)s
) v
JOIN billing.contract_rate r USING (tenant, contract_id, version)
WHERE r.tenant = %(tenant)s AND r.product = ANY (%(products)s)
ORDER BY v.contract_id, v.effective_at

-- name: claim_cases
-- A free case is taken, a held one only locked: who frees it waits, and then sees what was recorded meanwhile.
-- In the order of contracts and cases, in which they are sent.
WITH taken AS (
    INSERT INTO billing.case_claim AS held (tenant, contract_id, case_key, ingest_sequence)
    SELECT %(tenant)s, contract_id::bigint, case_key, ingest_sequence::bigint
    FROM unnest(
        string_to_array(%(contract_id)s, E'\x1f'), string_to_array(%(case_key)s, E'\x1f'),
        string_to_array(%(ingest_sequence)s, E'\x1f')
    ) AS wanted (contract_id, case_key, ingest_sequence)
    ON CONFLICT (tenant, contract_id, case_key) DO UPDATE SET ingest_sequence = excluded.ingest_sequence
    WHERE held.ingest_sequence IS NULL
    RETURNING ingest_sequence
)
SELECT string_agg(ingest_sequence::text, E'\x1f') AS sequences FROM taken

-- name: insert_decisions
INSERT INTO billing.event_decision (tenant, ingest_sequence, kind, revision, outcome, reason_code, explanation,
    policy, contract_id, contract_version, case_key, decided_by, decided_at)
SELECT %(tenant)s, ingest_sequence::bigint, kind, revision::integer, outcome, reason_code, explanation, %(policy)s,
    contract_id::bigint, contract_version::integer, case_key, %(decided_by)s, %(decided_at)s
FROM unnest(
    string_to_array(%(ingest_sequence)s, E'\x1f'), string_to_array(%(kind)s, E'\x1f'),
    string_to_array(%(revision)s, E'\x1f'), string_to_array(%(outcome)s, E'\x1f'),
    string_to_array(%(reason_code)s, E'\x1f'), string_to_array(%(explanation)s, E'\x1f'),
    string_to_array(%(contract_id)s, E'\x1f', ''), string_to_array(%(contract_version)s, E'\x1f', ''),
    string_to_array(%(case_key)s, E'\x1f')
) AS made (ingest_sequence, kind, revision, outcome, reason_code, explanation, contract_id, contract_version,
    case_key)

-- name: first_decisions
SELECT e.source, e.event_id, e.ingest_sequence, e.payload_hash, d.outcome, d.reason_code, d.explanation,
    d.case_key, d.contract_id
FROM unnest(%(sources)s::text[], %(event_ids)s::text[]) AS asked (source, event_id)
JOIN billing.usage_event e ON e.tenant = %(tenant)s AND e.source = asked.source AND e.event_id = asked.event_id
JOIN billing.event_decision d ON d.tenant = e.tenant AND d.ingest_sequence = e.ingest_sequence AND d.revision = 1

-- name: usage_by_ids
SELECT u.*, EXISTS (
    SELECT 1 FROM billing.contract_prepaid p WHERE p.tenant = u.tenant AND p.contract_id = u.contract_id
    AND p.version = u.contract_version AND p.product = u.product
) AS is_prepaid
FROM unnest(%(sources)s::text[], %(event_ids)s::text[]) AS asked (source, event_id)
JOIN billing.current_usage u ON u.tenant = %(tenant)s AND u.source = asked.source AND u.event_id = asked.event_id

-- name: next_of_cases
-- The earliest recorded event of each case that lost it to another, and is not void.
SELECT DISTINCT ON (u.contract_id, u.case_key) u.*, EXISTS (
    SELECT 1 FROM billing.contract_prepaid p WHERE p.tenant = u.tenant AND p.contract_id = u.contract_id
    AND p.version = u.contract_version AND p.product = u.product
) AS is_prepaid
FROM unnest(%(contracts)s::bigint[], %(cases)s::text[]) AS freed (contract_id, case_key)
JOIN billing.event_decision lost ON lost.tenant = %(tenant)s AND lost.contract_id = freed.contract_id
    AND lost.case_key = freed.case_key AND lost.reason_code = 'already_charged'
JOIN billing.current_usage u ON u.tenant = lost.tenant AND u.ingest_sequence = lost.ingest_sequence
WHERE u.reason_code = 'already_charged'
ORDER BY u.contract_id, u.case_key, u.ingest_sequence

-- name: claims_unlike_decisions
SELECT coalesce(c.contract_id, u.contract_id) AS contract_id, coalesce(c.case_key, u.case_key) AS case_key,
    c.ingest_sequence AS holder, u.ingest_sequence AS charged
FROM (SELECT * FROM billing.case_claim WHERE tenant = %(tenant)s AND ingest_sequence IS NOT NULL) c
FULL JOIN (
    SELECT * FROM billing.event_decision d
    WHERE d.tenant = %(tenant)s AND (d.outcome = 'billable' OR d.reason_code = 'prepaid') AND NOT EXISTS (
        SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant AND later.revision > 1
        AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
    )
) u ON u.contract_id = c.contract_id AND u.case_key = c.case_key
WHERE c.ingest_sequence IS DISTINCT FROM u.ingest_sequence
ORDER BY 1, 2, 4

-- name: taken_off_but_charged
SELECT v.ingest_sequence, s.number FROM billing.statement_void v
JOIN billing.statement s USING (tenant, statement_id)
WHERE v.tenant = %(tenant)s AND (
    NOT EXISTS (
        SELECT 1 FROM billing.event_decision d WHERE d.tenant = v.tenant
        AND d.ingest_sequence = v.ingest_sequence AND d.reason_code = 'voided'
    ) OR NOT EXISTS (
        SELECT 1 FROM billing.statement_event x WHERE x.tenant = v.tenant AND x.ingest_sequence = v.ingest_sequence
    )
)
ORDER BY v.ingest_sequence

-- name: usage_page
SELECT * FROM billing.current_usage
WHERE tenant = %(tenant)s AND (%(before)s::bigint IS NULL OR ingest_sequence < %(before)s::bigint)
  AND (%(source)s::text IS NULL OR source = %(source)s::text)
  AND (%(event_id)s::text IS NULL OR event_id = %(event_id)s::text)
ORDER BY ingest_sequence DESC LIMIT %(limit)s

-- wallets

-- name: insert_contract_prepaid
INSERT INTO billing.contract_prepaid (tenant, contract_id, version, product)
VALUES (%(tenant)s, %(contract_id)s, %(version)s, %(product)s)

-- name: is_prepaid_product
SELECT 1 FROM billing.contract_prepaid
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND version = %(version)s AND product = %(product)s

-- name: version_text
SELECT c.first_day, v.source_text FROM billing.contract_version v
JOIN billing.contract c USING (tenant, contract_id)
WHERE v.tenant = %(tenant)s AND v.contract_id = %(contract_id)s AND v.version = %(version)s

-- name: lock_wallet
-- Held until the transaction ends; one balance moves at a time.
SELECT pg_advisory_xact_lock(hashtextextended('wallet:' || %(tenant)s || ':' || %(key)s, 0))

-- name: case_is_paid
-- A current decision charges the case or has taken it from a package.
SELECT 1 FROM billing.event_decision d
WHERE d.tenant = %(tenant)s AND d.contract_id = %(contract_id)s AND d.case_key = %(case_key)s
  AND (d.outcome = 'billable' OR d.reason_code = 'prepaid')
  AND NOT EXISTS (
    SELECT 1 FROM billing.event_decision later WHERE later.tenant = d.tenant
    AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
  ) LIMIT 1

-- name: open_lots
-- In the order in which they are taken: by priority, then the soonest expiry, then the oldest.
SELECT lot_id, remaining FROM billing.wallet_lot
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND package = %(package)s AND owner = %(owner)s
  AND remaining > 0 AND effective_at <= %(at)s AND expires_at > %(at)s
ORDER BY priority, expires_at, lot_id

-- name: owed
SELECT o.entry_id, o.ingest_sequence, o.occurred_at, o.quantity - coalesce((
    SELECT sum(CASE p.kind WHEN 'used' THEN p.quantity ELSE -p.quantity END) FROM billing.wallet_entry p
    WHERE p.tenant = o.tenant AND p.pays = o.entry_id
), 0) AS quantity
FROM billing.wallet_entry o
WHERE o.tenant = %(tenant)s AND o.contract_id = %(contract_id)s AND o.package = %(package)s
  AND o.owner = %(owner)s AND o.kind = 'owed'
  AND NOT EXISTS (
    -- taken back with its event
    SELECT 1 FROM billing.event_decision d WHERE d.tenant = o.tenant AND d.ingest_sequence = o.ingest_sequence
    AND d.reason_code <> 'prepaid' AND d.revision > 1
  )
ORDER BY o.entry_id

-- name: insert_lot
INSERT INTO billing.wallet_lot (tenant, contract_id, package, owner, product, ingest_sequence, quantity, remaining,
    in_money, priority, effective_at, expires_at, created_at)
VALUES (%(tenant)s, %(contract_id)s, %(package)s, %(owner)s, %(product)s, %(ingest_sequence)s, %(quantity)s,
    %(quantity)s, %(in_money)s, %(priority)s, %(effective_at)s, %(expires_at)s, %(created_at)s)
RETURNING lot_id

-- name: insert_wallet_entry
INSERT INTO billing.wallet_entry (tenant, contract_id, package, owner, kind, lot_id, quantity, ingest_sequence,
    pays, occurred_at, written_at)
VALUES (%(tenant)s, %(contract_id)s, %(package)s, %(owner)s, %(kind)s, %(lot_id)s, %(quantity)s,
    %(ingest_sequence)s, %(pays)s, %(occurred_at)s, %(written_at)s)

-- name: entries_of_event
-- What an event took and was not given back yet.
SELECT u.* FROM billing.wallet_entry u
WHERE u.tenant = %(tenant)s AND u.ingest_sequence = %(ingest_sequence)s AND u.kind = 'used'
  AND NOT EXISTS (
    SELECT 1 FROM billing.wallet_entry r WHERE r.tenant = u.tenant AND r.kind = 'returned'
    AND r.ingest_sequence = u.ingest_sequence AND r.lot_id = u.lot_id AND r.pays IS NOT DISTINCT FROM u.pays
  )
ORDER BY u.entry_id

-- name: lot_of_event
SELECT * FROM billing.wallet_lot WHERE tenant = %(tenant)s AND ingest_sequence = %(ingest_sequence)s

-- name: lots_to_expire
SELECT * FROM billing.wallet_lot
WHERE tenant = %(tenant)s AND remaining > 0 AND expires_at <= %(now)s ORDER BY expires_at, lot_id

-- name: lot_remaining
SELECT remaining FROM billing.wallet_lot WHERE tenant = %(tenant)s AND lot_id = %(lot_id)s

-- name: wallets
-- One row for each balance: what can be taken at %(at)s, what is left in all, what is owed.
SELECT l.contract_id, l.package, l.owner, bool_or(l.in_money) AS in_money, sum(l.quantity) AS bought,
    sum(l.remaining) AS remaining,
    coalesce(sum(l.remaining) FILTER (WHERE l.effective_at <= %(at)s AND l.expires_at > %(at)s), 0) AS usable,
    min(l.expires_at) FILTER (WHERE l.remaining > 0 AND l.expires_at > %(at)s) AS next_expiry
FROM billing.wallet_lot l
WHERE l.tenant = %(tenant)s AND (%(contract_id)s::bigint IS NULL OR l.contract_id = %(contract_id)s)
GROUP BY l.contract_id, l.package, l.owner ORDER BY l.contract_id, l.package, l.owner LIMIT %(limit)s

-- name: lots_of_wallet
SELECT l.*, coalesce((
    SELECT sum(v.amount_minor) FROM billing.wallet_value v WHERE v.tenant = l.tenant AND v.lot_id = l.lot_id
), 0)::bigint AS value_minor, coalesce((
    SELECT sum(r.amount_minor) FROM billing.wallet_recognition r WHERE r.tenant = l.tenant AND r.lot_id = l.lot_id
), 0)::bigint AS recognised_minor
FROM billing.wallet_lot l
WHERE l.tenant = %(tenant)s AND l.contract_id = %(contract_id)s AND l.package = %(package)s AND l.owner = %(owner)s
ORDER BY l.lot_id

-- name: entries_of_wallet
SELECT * FROM billing.wallet_entry
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND package = %(package)s AND owner = %(owner)s
ORDER BY entry_id DESC LIMIT %(limit)s

-- books of wallets

-- name: lots_sold
-- Lots whose purchase is of this product and service period, decided by the cutoff; is_valued: by this payer already.
SELECT l.lot_id, l.quantity, EXISTS (
    SELECT 1 FROM billing.wallet_value v WHERE v.tenant = l.tenant AND v.lot_id = l.lot_id
) AS is_valued
FROM billing.wallet_lot l
WHERE l.tenant = %(tenant)s AND l.contract_id = %(contract_id)s AND l.product = %(product)s
  AND l.effective_at >= %(start_at)s AND l.effective_at < %(end_at)s
  AND EXISTS (
    SELECT 1 FROM billing.event_decision d WHERE d.tenant = l.tenant AND d.ingest_sequence = l.ingest_sequence
    AND d.decision_sequence <= %(cutoff)s
  )
ORDER BY l.lot_id

-- name: insert_wallet_value
INSERT INTO billing.wallet_value (tenant, lot_id, document, line_number, amount_minor, valued_at)
VALUES (%(tenant)s, %(lot_id)s, %(document)s, %(line_number)s, %(amount_minor)s, %(valued_at)s)

-- name: lots_of_line
-- The lots that a statement's line paid for, with what of their value is neither used nor credited.
SELECT v.lot_id, ((
    SELECT sum(a.amount_minor) FROM billing.wallet_value a WHERE a.tenant = v.tenant AND a.lot_id = v.lot_id
) - coalesce((
    SELECT sum(r.amount_minor) FROM billing.wallet_recognition r WHERE r.tenant = v.tenant AND r.lot_id = v.lot_id
), 0))::bigint AS left_minor
FROM billing.wallet_value v
WHERE v.tenant = %(tenant)s AND v.document = %(document)s AND v.line_number = %(line_number)s
ORDER BY v.lot_id

-- name: lots_to_recognise
-- Lots with a value that have entries nobody recognised yet, or value left with nothing left to use.
SELECT l.lot_id, l.quantity, l.remaining, w.value_minor, w.recognised_minor
FROM billing.wallet_lot l CROSS JOIN LATERAL (
    SELECT (SELECT sum(v.amount_minor) FROM billing.wallet_value v WHERE v.tenant = l.tenant AND v.lot_id = l.lot_id)
        AS value_minor, coalesce((
        SELECT sum(r.amount_minor) FROM billing.wallet_recognition r
        WHERE r.tenant = l.tenant AND r.lot_id = l.lot_id
    ), 0) AS recognised_minor
) w
WHERE l.tenant = %(tenant)s AND l.contract_id = %(contract_id)s AND w.value_minor IS NOT NULL AND (
    (l.remaining = 0 AND w.value_minor > w.recognised_minor) OR EXISTS (
        SELECT 1 FROM billing.wallet_entry e WHERE e.tenant = l.tenant AND e.lot_id = l.lot_id
        AND e.occurred_at < %(until)s AND NOT EXISTS (
            SELECT 1 FROM billing.wallet_recognition r WHERE r.tenant = e.tenant AND r.entry_id = e.entry_id
        )
    )
)
ORDER BY l.lot_id

-- name: entries_to_recognise
-- All entries of a lot in their order, with what was recognised for each.
SELECT e.entry_id, e.kind, e.quantity, e.occurred_at, e.ingest_sequence, r.amount_minor
FROM billing.wallet_entry e LEFT JOIN billing.wallet_recognition r USING (tenant, entry_id)
WHERE e.tenant = %(tenant)s AND e.lot_id = %(lot_id)s ORDER BY e.entry_id

-- name: insert_recognition
INSERT INTO billing.wallet_recognition
    (tenant, lot_id, entry_id, template, amount_minor, journal_key, recognised_at)
VALUES (%(tenant)s, %(lot_id)s, %(entry_id)s, %(template)s, %(amount_minor)s, %(journal_key)s, %(recognised_at)s)

-- name: recognition_count
SELECT count(*) AS count FROM billing.wallet_recognition WHERE tenant = %(tenant)s

-- name: lock_lots
SELECT pg_advisory_xact_lock(hashtextextended('wallet books:' || %(tenant)s || ':' || %(contract_id)s::text, 0))

-- name: prepaid_roll_forward
-- Minor units by contract over [start, end): opening + bought - used - expired = closing.
WITH moves AS (
    SELECT l.contract_id, v.valued_at AS at, v.amount_minor AS bought, 0 AS used, 0 AS expired
    FROM billing.wallet_value v JOIN billing.wallet_lot l USING (tenant, lot_id) WHERE v.tenant = %(tenant)s
    UNION ALL
    SELECT l.contract_id, r.recognised_at, 0, CASE r.template WHEN 'prepaid_used' THEN r.amount_minor ELSE 0 END,
        CASE r.template WHEN 'prepaid_expired' THEN r.amount_minor ELSE 0 END
    FROM billing.wallet_recognition r JOIN billing.wallet_lot l USING (tenant, lot_id)
    WHERE r.tenant = %(tenant)s
)
SELECT m.contract_id, c.name, c.currency,
    coalesce(sum(m.bought - m.used - m.expired) FILTER (WHERE m.at < %(start)s), 0)::bigint AS opening_minor,
    coalesce(sum(m.bought) FILTER (WHERE m.at >= %(start)s), 0)::bigint AS bought_minor,
    coalesce(sum(m.used) FILTER (WHERE m.at >= %(start)s), 0)::bigint AS used_minor,
    coalesce(sum(m.expired) FILTER (WHERE m.at >= %(start)s), 0)::bigint AS expired_minor
FROM moves m JOIN billing.contract c ON c.tenant = %(tenant)s AND c.contract_id = m.contract_id
WHERE m.at < %(end)s
GROUP BY m.contract_id, c.name, c.currency ORDER BY m.contract_id

-- name: wallet_unsound
-- Lots whose balance is not what their entries say, or that gave more revenue than was paid for them.
SELECT l.lot_id FROM billing.wallet_lot l
WHERE l.tenant = %(tenant)s AND (
    l.remaining <> l.quantity + coalesce((
        SELECT sum(CASE e.kind WHEN 'returned' THEN e.quantity ELSE -e.quantity END)
        FROM billing.wallet_entry e WHERE e.tenant = l.tenant AND e.lot_id = l.lot_id
    ), 0)
    OR coalesce((
        SELECT sum(r.amount_minor) FROM billing.wallet_recognition r
        WHERE r.tenant = l.tenant AND r.lot_id = l.lot_id
    ), 0) > coalesce((
        SELECT sum(v.amount_minor) FROM billing.wallet_value v WHERE v.tenant = l.tenant AND v.lot_id = l.lot_id
    ), 0)
) ORDER BY l.lot_id

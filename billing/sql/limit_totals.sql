-- totals by day

-- name: try_lock_for_totals
-- The lock of `lock_for_cutoff`, without waiting: nobody records behind what is read next.
SELECT pg_try_advisory_xact_lock(hashtextextended('radmeter.billing:' || %(tenant)s, 0)) AS is_locked

-- name: insert_usage_day_head
INSERT INTO billing.usage_day_head (tenant, sequence) VALUES (%(tenant)s, 0) ON CONFLICT DO NOTHING

-- name: lock_usage_day_head
SELECT sequence FROM billing.usage_day_head WHERE tenant = %(tenant)s FOR UPDATE

-- name: add_to_usage_days
INSERT INTO billing.usage_day AS t (tenant, contract_id, day, product, meter, dimensions, is_prepaid,
    amount_currency, quantity, event_count, peak, amount_minor)
SELECT tenant, contract_id, day, product, meter, dimensions, is_prepaid, amount_currency, sum(quantity),
    sum(event_count), max(peak), sum(amount_minor)
FROM billing.usage_change
WHERE tenant = %(tenant)s AND decision_sequence > %(after)s AND decision_sequence <= %(until)s
GROUP BY tenant, contract_id, day, product, meter, dimensions, is_prepaid, amount_currency
ON CONFLICT (tenant, contract_id, day, product, meter, dimensions, is_prepaid, amount_currency) DO UPDATE
SET quantity = t.quantity + excluded.quantity, event_count = t.event_count + excluded.event_count,
    peak = greatest(t.peak, excluded.peak), amount_minor = t.amount_minor + excluded.amount_minor

-- name: set_usage_day_head
UPDATE billing.usage_day_head SET sequence = %(until)s WHERE tenant = %(tenant)s

-- name: usage_days
-- The totals, and what was decided since they were last added up.
SELECT contract_id, day, product, meter, dimensions, is_prepaid, amount_currency, sum(quantity) AS quantity,
    sum(event_count)::bigint AS event_count, max(peak) AS peak, sum(amount_minor) AS amount_minor
FROM (
    SELECT contract_id, day, product, meter, dimensions, is_prepaid, amount_currency, quantity, event_count, peak,
        amount_minor
    FROM billing.usage_day
    WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND day >= %(first)s AND day < %(end)s
    UNION ALL
    SELECT contract_id, day, product, meter, dimensions, is_prepaid, amount_currency, quantity, event_count, peak,
        amount_minor
    FROM billing.usage_change
    WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND day >= %(first)s AND day < %(end)s
      AND decision_sequence > coalesce(
        (SELECT h.sequence FROM billing.usage_day_head h WHERE h.tenant = %(tenant)s), 0)
) found
GROUP BY contract_id, day, product, meter, dimensions, is_prepaid, amount_currency
HAVING sum(event_count) <> 0
ORDER BY day, product, meter, dimensions

-- limits

-- name: latest_limit_change
SELECT * FROM billing.limit_change
WHERE tenant = %(tenant)s AND contract_id = %(contract_id)s AND contract_version = %(version)s
  AND limit_id = %(limit_id)s AND changed_at <= %(now)s
ORDER BY change_id DESC LIMIT 1

-- name: insert_limit_change
INSERT INTO billing.limit_change
    (tenant, contract_id, contract_version, limit_id, bound, reason, changed_by, changed_at)
VALUES (%(tenant)s, %(contract_id)s, %(version)s, %(limit_id)s, %(bound)s, %(reason)s, %(changed_by)s, %(now)s)

-- name: insert_limit_alert
INSERT INTO billing.limit_alert
    (tenant, contract_id, limit_id, window_start, percent, used, bound, reached_at)
VALUES (%(tenant)s, %(contract_id)s, %(limit_id)s, %(window_start)s, %(percent)s, %(used)s, %(bound)s, %(now)s)
ON CONFLICT DO NOTHING RETURNING percent

-- name: limit_alerts
SELECT a.*, c.name FROM billing.limit_alert a JOIN billing.contract c USING (tenant, contract_id)
WHERE a.tenant = %(tenant)s ORDER BY a.reached_at DESC, a.limit_id, a.percent DESC LIMIT %(limit)s

-- name: lock_for_letting_run
SELECT pg_advisory_xact_lock(hashtextextended('radmeter.billing.limits:' || %(tenant)s, 0))

-- name: last_run_decision
SELECT verdict, limit_id FROM billing.run_decision
WHERE tenant = %(tenant)s AND study_ref = %(study_ref)s AND revision = %(revision)s AND product = %(product)s
ORDER BY run_decision_id DESC LIMIT 1

-- name: insert_run_decision
INSERT INTO billing.run_decision
    (tenant, contract_id, product, study_ref, revision, verdict, limit_id, explanation, decided_at)
VALUES (%(tenant)s, %(contract_id)s, %(product)s, %(study_ref)s, %(revision)s, %(verdict)s, %(limit_id)s,
    %(explanation)s, %(now)s)

-- name: run_decisions
SELECT * FROM billing.run_decision
WHERE tenant = %(tenant)s AND (%(study_ref)s::text IS NULL OR study_ref = %(study_ref)s)
ORDER BY run_decision_id DESC LIMIT %(limit)s

-- calls of the API

-- name: lock_for_ending_call
-- The lock of `lock_for_letting_run`, shared: what a call held and what it used change in one moment for who asks.
SELECT pg_advisory_xact_lock_shared(hashtextextended('radmeter.billing.limits:' || %(tenant)s, 0))

-- name: note_refused_call
INSERT INTO billing.call_refusal AS r
    (tenant, contract_id, limit_id, api_key, day, explanation, opens_at, first_at, last_at, calls)
VALUES (%(tenant)s, %(contract_id)s, %(limit_id)s, %(api_key)s, %(day)s, %(explanation)s, %(opens_at)s, %(now)s,
    %(now)s, 1)
ON CONFLICT (tenant, contract_id, limit_id, api_key, day) DO UPDATE
SET explanation = excluded.explanation, opens_at = excluded.opens_at, last_at = greatest(r.last_at, excluded.last_at),
    calls = r.calls + 1
RETURNING calls

-- name: refused_calls
SELECT r.*, c.name FROM billing.call_refusal r JOIN billing.contract c USING (tenant, contract_id)
WHERE r.tenant = %(tenant)s ORDER BY r.last_at DESC, r.limit_id, r.api_key LIMIT %(limit)s

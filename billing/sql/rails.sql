-- rails

-- name: insert_operation
INSERT INTO billing.rail_operation (tenant, rail, kind, subject_id, currency, amount_minor, request, state,
    next_attempt_at, created_at, changed_at)
VALUES (%(tenant)s, %(rail)s, %(kind)s, %(subject_id)s, %(currency)s, %(amount_minor)s, %(request)s, 'intent',
    %(now)s, %(now)s, %(now)s)
ON CONFLICT (tenant, kind, subject_id) DO NOTHING RETURNING operation_id

-- name: operation_by_id
SELECT * FROM billing.rail_operation WHERE tenant = %(tenant)s AND operation_id = %(operation_id)s

-- name: operation_of_subject
SELECT * FROM billing.rail_operation
WHERE tenant = %(tenant)s AND kind = %(kind)s AND subject_id = %(subject_id)s

-- name: operations
SELECT * FROM billing.rail_operation
WHERE tenant = %(tenant)s AND (NOT %(only_open)s OR state IN ('intent', 'sent', 'unknown'))
ORDER BY operation_id DESC LIMIT %(limit)s

-- name: move_operation
-- The state and the time it was read with: whoever comes second moves nothing.
UPDATE billing.rail_operation SET state = %(state)s, generation = %(generation)s, detail = %(detail)s,
    attempts = attempts + (%(state)s = 'sent' AND state IN ('intent', 'unknown'))::integer,
    external_id = coalesce(%(external_id)s, CASE WHEN %(state)s = 'intent' THEN NULL ELSE external_id END),
    next_attempt_at = %(next_attempt_at)s, changed_at = %(now)s
WHERE tenant = %(tenant)s AND operation_id = %(operation_id)s AND state = %(from_state)s
  AND changed_at = %(from_changed_at)s
RETURNING *

-- name: insert_address
INSERT INTO billing.rail_address (tenant, party_id, direction, rail, account, bank_code, holder, email,
    requested_by, approved_by, created_at)
VALUES (%(tenant)s, %(party_id)s, %(direction)s, %(rail)s, %(account)s, %(bank_code)s, %(holder)s, %(email)s,
    %(requested_by)s, %(approved_by)s, %(created_at)s)
RETURNING address_id

-- name: current_address
SELECT * FROM billing.rail_address
WHERE tenant = %(tenant)s AND party_id = %(party_id)s AND direction = %(direction)s
ORDER BY address_id DESC LIMIT 1

-- name: try_lock_worker
SELECT pg_try_advisory_xact_lock(hashtextextended('radmeter.rails:' || %(tenant)s, 0)) AS is_ours

-- name: operations_due
SELECT * FROM billing.rail_operation
WHERE tenant = %(tenant)s AND rail = ANY (%(rails)s)
  AND (state IN ('intent', 'sent', 'unknown') AND next_attempt_at <= %(now)s)
ORDER BY next_attempt_at, operation_id LIMIT %(limit)s

-- name: make_due
UPDATE billing.rail_operation SET next_attempt_at = %(now)s
WHERE tenant = %(tenant)s AND operation_id = %(operation_id)s RETURNING operation_id

-- name: insert_message
INSERT INTO billing.webhook_inbox (tenant, event_id, event_type, object_id, state, next_attempt_at, received_at,
    changed_at)
VALUES (%(tenant)s, %(event_id)s, %(event_type)s, %(object_id)s, 'received', %(now)s, %(now)s, %(now)s)
ON CONFLICT (tenant, event_id) DO NOTHING

-- name: messages_due
SELECT * FROM billing.webhook_inbox
WHERE tenant = %(tenant)s AND state = 'received' AND next_attempt_at <= %(now)s
ORDER BY next_attempt_at, inbox_id LIMIT %(limit)s

-- name: move_message
UPDATE billing.webhook_inbox SET state = %(state)s, attempts = attempts + 1, detail = %(detail)s,
    next_attempt_at = %(next_attempt_at)s, changed_at = %(now)s
WHERE tenant = %(tenant)s AND inbox_id = %(inbox_id)s AND state IN ('received', 'parked')

-- name: message_counts
SELECT state, count(*) AS message_count FROM billing.webhook_inbox WHERE tenant = %(tenant)s
GROUP BY state ORDER BY state

-- name: every_tenant
SELECT t.tenant FROM billing.every_tenant() AS t (tenant)

-- name: party_name
SELECT legal_name FROM billing.party WHERE tenant = %(tenant)s AND party_id = %(party_id)s

-- name: requests_of_rails
SELECT operation_id, request FROM billing.rail_operation WHERE tenant = %(tenant)s ORDER BY operation_id

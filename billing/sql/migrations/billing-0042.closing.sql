-- depends: billing-0041.reconciliation billing-0060.credits billing-0070.payments
-- What of a month was looked at before it was closed, what the journal held then, and receivables as they moved.

-- The last entry of the journal when the month was closed: nothing booked later may count before its end.
ALTER TABLE billing.accounting_period ADD COLUMN head_sequence bigint;

CREATE FUNCTION billing.keep_head() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Asking to reopen, or refusing to, leaves what was closed as it was.
    SELECT m.head_sequence INTO NEW.head_sequence FROM billing.accounting_month m
    WHERE m.tenant = NEW.tenant AND m.month = NEW.month AND m.state IN ('closed', 'reopening');
    IF NEW.head_sequence IS NULL AND NEW.state = 'closed' THEN
        SELECT coalesce(max(h.sequence), 0) INTO NEW.head_sequence FROM billing.ledger_head h
        WHERE h.tenant = NEW.tenant;
    END IF;
    RETURN NEW;
END
$$;
-- After `allowed_step`, which waits for whoever books: triggers fire in the order of their names.
CREATE TRIGGER closed_with_head BEFORE INSERT ON billing.accounting_period
    FOR EACH ROW EXECUTE FUNCTION billing.keep_head();

DROP VIEW billing.accounting_month;
CREATE VIEW billing.accounting_month WITH (security_invoker = true) AS
SELECT DISTINCT ON (tenant, month) * FROM billing.accounting_period ORDER BY tenant, month, revision DESC;
GRANT SELECT ON billing.accounting_month TO radmeter_app;

-- Somebody accepts that an item of the checklist stands as it does; it holds while the evidence stays the same.
CREATE TABLE billing.close_waiver (
    waiver_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant     text NOT NULL CHECK (tenant <> ''),
    month      date NOT NULL,
    item       text NOT NULL CHECK (item <> ''),
    evidence   text NOT NULL,
    waived_by  text NOT NULL CHECK (waived_by <> ''),
    reason     text NOT NULL CHECK (reason <> ''),
    waived_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, waiver_id)
);
CREATE INDEX close_waiver_of_month ON billing.close_waiver (tenant, month);

-- Somebody has looked at the checklist, whose text has this digest; it holds while the text stays the same.
CREATE TABLE billing.close_sign_off (
    sign_off_id       bigint GENERATED ALWAYS AS IDENTITY,
    tenant            text NOT NULL CHECK (tenant <> ''),
    month             date NOT NULL,
    checklist         text NOT NULL,
    checklist_sha256  text NOT NULL,
    signed_by         text NOT NULL CHECK (signed_by <> ''),
    signed_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant, sign_off_id),
    UNIQUE (tenant, month, checklist_sha256, signed_by)
);

-- What a statement asks for, as it moved; effective_at is that of the entry that booked it, NULL where none did.
CREATE VIEW billing.receivable_movement WITH (security_invoker = true) AS
SELECT m.tenant, m.statement_id, m.kind, m.source_id, m.amount_minor, e.sequence AS entry_sequence, e.effective_at
FROM (
    SELECT tenant, statement_id, 'statement' AS kind, statement_id AS source_id, total_minor AS amount_minor,
        'statement:' || number AS idempotency_key FROM billing.statement
    UNION ALL
    SELECT tenant, statement_id, 'credit_note', credit_note_id, -total_minor, 'credit_note:' || number
    FROM billing.credit_note
    UNION ALL
    SELECT tenant, statement_id, 'allocation', allocation_id, -amount_minor, 'allocation:' || allocation_id
    FROM billing.payment_allocation
    UNION ALL
    SELECT tenant, statement_id, 'write_off', write_off_id, -amount_minor, 'write_off:' || write_off_id
    FROM billing.write_off
) m LEFT JOIN billing.journal_entry e ON e.tenant = m.tenant AND e.idempotency_key = m.idempotency_key;

-- The receivable account of a statement, as its entry names it; a statement of zero has none.
CREATE VIEW billing.statement_account WITH (security_invoker = true) AS
SELECT s.tenant, s.statement_id, s.number, s.currency, s.due_on, p.account
FROM billing.statement s
JOIN billing.journal_entry e ON e.tenant = s.tenant AND e.idempotency_key = 'statement:' || s.number
JOIN billing.posting p ON p.tenant = e.tenant AND p.entry_sequence = e.sequence AND split_part(p.account, ':', 1) = 'receivable';

GRANT SELECT ON billing.receivable_movement, billing.statement_account TO radmeter_app;
CALL billing.protect('close_waiver', true);
CALL billing.protect('close_sign_off', true);

-- depends: billing-0042.closing
-- What was billed ahead of the days that earn it.

-- A line of a statement that is earned over [recognise_from, recognise_until), local days of its contract.
-- amount_minor: how much of the line was deferred when it was issued.
CREATE TABLE billing.deferral (
    tenant           text NOT NULL,
    statement_id     bigint NOT NULL,
    line_number      integer NOT NULL,
    contract_id      bigint NOT NULL,
    account          text NOT NULL,
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    recognise_from   date NOT NULL,
    recognise_until  date NOT NULL CHECK (recognise_until > recognise_from),
    amount_minor     bigint NOT NULL CHECK (amount_minor > 0),
    PRIMARY KEY (tenant, statement_id, line_number),
    FOREIGN KEY (tenant, statement_id, line_number)
        REFERENCES billing.statement_line (tenant, statement_id, line_number)
);

-- recognised: became revenue. credited: amount_minor was taken back, revenue_minor of it from revenue that had been
-- recognised. until: the day up to which it was counted, exclusive.
CREATE TABLE billing.deferral_movement (
    movement_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant         text NOT NULL,
    statement_id   bigint NOT NULL,
    line_number    integer NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('recognised', 'credited')),
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    revenue_minor  bigint NOT NULL CHECK (revenue_minor BETWEEN 0 AND amount_minor),
    until          date NOT NULL,
    reference      text NOT NULL, -- idempotency key of the entry, or number of the credit note
    moved_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, movement_id),
    CHECK (kind <> 'recognised' OR revenue_minor = amount_minor),
    FOREIGN KEY (tenant, statement_id, line_number)
        REFERENCES billing.deferral (tenant, statement_id, line_number)
);
CREATE INDEX deferral_movement_of_line ON billing.deferral_movement (tenant, statement_id, line_number);

-- What is left of each deferral, and what of it is revenue by now.
CREATE VIEW billing.deferral_state WITH (security_invoker = true) AS
SELECT d.*, m.earned_minor, m.credited_minor, d.amount_minor - m.credited_minor - m.earned_minor AS left_minor
FROM billing.deferral d CROSS JOIN LATERAL (
    SELECT coalesce(sum(CASE m.kind WHEN 'recognised' THEN m.revenue_minor ELSE -m.revenue_minor END), 0)::bigint
            AS earned_minor,
        coalesce(sum(m.amount_minor) FILTER (WHERE m.kind = 'credited'), 0)::bigint AS credited_minor
    FROM billing.deferral_movement m
    WHERE m.tenant = d.tenant AND m.statement_id = d.statement_id AND m.line_number = d.line_number
) m;

GRANT SELECT ON billing.deferral_state TO radmeter_app;
CALL billing.protect('deferral', true);
CALL billing.protect('deferral_movement', true);

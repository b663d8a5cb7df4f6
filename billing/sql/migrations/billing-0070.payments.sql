-- depends: billing-0040.periods billing-0060.credits
-- Money that came in, what it pays, what went back, and what is asked of a rail.
--
-- Whoever books for a tenant holds its row of ledger_head, so allocations wait for one another. The deferred
-- triggers take the same row before they add up: they also stop whoever writes past the code.

CREATE TABLE billing.payment (
    payment_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant        text NOT NULL CHECK (tenant <> ''),
    payer_id      text NOT NULL,
    source        text NOT NULL CHECK (source ~ '^[a-z][a-z0-9_]{0,39}$'), -- the rail: bank, stripe
    external_id   text NOT NULL CHECK (length(external_id) BETWEEN 1 AND 200),
    payload_hash  bytea NOT NULL CHECK (length(payload_hash) = 32),
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0), -- what the payer gave
    fee_minor     bigint NOT NULL CHECK (fee_minor >= 0 AND fee_minor <= amount_minor), -- what the rail kept of it
    remittance    text NOT NULL,
    received_at   timestamptz NOT NULL,
    recorded_by   text NOT NULL CHECK (recorded_by <> ''),
    recorded_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, payment_id),
    UNIQUE (tenant, source, external_id),
    FOREIGN KEY (tenant, payer_id) REFERENCES billing.party (tenant, party_id)
);
CREATE INDEX payment_of_payer ON billing.payment (tenant, payer_id);

-- Which statement a payment pays. Taking it back is a new, negative row that names the first.
CREATE TABLE billing.payment_allocation (
    allocation_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant         text NOT NULL,
    payment_id     bigint NOT NULL,
    statement_id   bigint NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor <> 0),
    reverses_id    bigint,
    reason         text NOT NULL,
    allocated_by   text NOT NULL CHECK (allocated_by <> ''),
    allocated_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, allocation_id),
    CHECK ((amount_minor < 0) = (reverses_id IS NOT NULL)),
    FOREIGN KEY (tenant, payment_id) REFERENCES billing.payment (tenant, payment_id),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id),
    FOREIGN KEY (tenant, reverses_id) REFERENCES billing.payment_allocation (tenant, allocation_id)
);
CREATE INDEX allocation_of_payment ON billing.payment_allocation (tenant, payment_id);
CREATE INDEX allocation_of_statement ON billing.payment_allocation (tenant, statement_id);
CREATE INDEX allocation_taken_back ON billing.payment_allocation (tenant, reverses_id) WHERE reverses_id IS NOT NULL;

-- Money on its way back to the payer. refund: we send it, two people agreed. returned: the bank or the card
-- network took it back.
CREATE TABLE billing.refund (
    refund_id     bigint GENERATED ALWAYS AS IDENTITY,
    tenant        text NOT NULL,
    payment_id    bigint NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('refund', 'returned')),
    external_id   text, -- the rail's id of a return
    amount_minor  bigint NOT NULL CHECK (amount_minor > 0),
    reason        text NOT NULL CHECK (reason <> ''),
    requested_by  text NOT NULL CHECK (requested_by <> ''),
    approved_by   text,
    requested_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, refund_id),
    UNIQUE (tenant, payment_id, external_id),
    CONSTRAINT two_people_refund CHECK (kind = 'returned' OR coalesce(approved_by <> requested_by, false)),
    CHECK ((kind = 'returned') = (external_id IS NOT NULL)),
    FOREIGN KEY (tenant, payment_id) REFERENCES billing.payment (tenant, payment_id)
);

-- What nobody expects to be paid any more.
CREATE TABLE billing.write_off (
    write_off_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant          text NOT NULL,
    statement_id    bigint NOT NULL,
    amount_minor    bigint NOT NULL CHECK (amount_minor > 0),
    reason          text NOT NULL CHECK (reason <> ''),
    requested_by    text NOT NULL CHECK (requested_by <> ''),
    approved_by     text NOT NULL,
    written_off_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, write_off_id),
    CONSTRAINT two_people_write_off CHECK (approved_by <> requested_by),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id)
);
CREATE INDEX write_off_of_statement ON billing.write_off (tenant, statement_id);

-- One thing asked of a rail. The intent is committed before any call; what the call needs lies in `request`,
-- so that every try sends the same. generation: counts up when a failed operation is begun anew.
CREATE TABLE billing.rail_operation (
    operation_id     bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL CHECK (tenant <> ''),
    rail             text NOT NULL CHECK (rail ~ '^[a-z][a-z0-9_]{0,39}$'),
    kind             text NOT NULL CHECK (kind IN ('collect', 'credit', 'refund', 'pay_out', 'take_back')),
    subject_id       bigint NOT NULL, -- of the statement, credit note, refund or payout
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor     bigint NOT NULL CHECK (amount_minor > 0),
    request          jsonb NOT NULL,
    state            text NOT NULL CHECK (state IN ('intent', 'sent', 'confirmed', 'failed', 'unknown')),
    generation       integer NOT NULL DEFAULT 1 CHECK (generation >= 1),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL,
    external_id      text, -- the rail's id; set while `sent` once the rail took it over
    detail           text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL,
    changed_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, operation_id),
    UNIQUE (tenant, kind, subject_id)
);
CREATE INDEX rail_operation_open ON billing.rail_operation (tenant, next_attempt_at) WHERE state IN ('intent', 'sent', 'unknown');

-- Every state an operation was in.
CREATE TABLE billing.rail_transition (
    transition_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant         text NOT NULL,
    operation_id   bigint NOT NULL,
    generation     integer NOT NULL,
    state          text NOT NULL,
    detail         text NOT NULL,
    changed_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, transition_id),
    FOREIGN KEY (tenant, operation_id) REFERENCES billing.rail_operation (tenant, operation_id)
);

CREATE FUNCTION billing.move_operation() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'intent' OR NEW.generation <> 1 OR NEW.attempts <> 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a rail operation begins as an intent';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.tenant, NEW.operation_id, NEW.rail, NEW.kind, NEW.subject_id, NEW.currency, NEW.amount_minor, NEW.request, NEW.created_at)
        IS DISTINCT FROM (OLD.tenant, OLD.operation_id, OLD.rail, OLD.kind, OLD.subject_id, OLD.currency, OLD.amount_minor, OLD.request, OLD.created_at) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'what a rail operation asks for never changes';
    END IF;
    IF NOT (OLD.state, NEW.state) IN (
        ('intent', 'sent'),       -- about to be called
        ('intent', 'failed'),     -- given up before any call
        ('sent', 'sent'),         -- taken over by the rail, not settled yet
        ('sent', 'intent'),       -- refused without effect, to be tried again later
        ('sent', 'confirmed'), ('sent', 'failed'), ('sent', 'unknown'),
        ('unknown', 'unknown'),   -- the look-up could not tell
        ('unknown', 'sent'),      -- looked up: not there, or there and under way
        ('unknown', 'confirmed'), ('unknown', 'failed'),
        ('confirmed', 'failed'),  -- came back later
        ('failed', 'intent'),     -- begun anew
        ('failed', 'confirmed')   -- turned out well after all
    ) OR NEW.generation <> OLD.generation + (OLD.state = 'failed' AND NEW.state = 'intent')::integer
      OR (OLD.kind = 'refund' AND OLD.state = 'failed') THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'a rail operation does not go from ' || OLD.state || ' to ' || NEW.state;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON billing.rail_operation
    FOR EACH ROW EXECUTE FUNCTION billing.move_operation();

CREATE FUNCTION billing.keep_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.rail_transition (tenant, operation_id, generation, state, detail, changed_at)
    VALUES (NEW.tenant, NEW.operation_id, NEW.generation, NEW.state, NEW.detail, NEW.changed_at);
    RETURN NULL;
END
$$;
CREATE TRIGGER kept AFTER INSERT OR UPDATE ON billing.rail_operation
    FOR EACH ROW EXECUTE FUNCTION billing.keep_transition();

-- How a party pays (`in`) or is paid (`out`): the latest row holds. A second person approves where money goes to.
-- account: a bank account, or the rail's own id of the customer or connected account.
CREATE TABLE billing.rail_address (
    address_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant        text NOT NULL,
    party_id      text NOT NULL,
    direction     text NOT NULL CHECK (direction IN ('in', 'out')),
    rail          text NOT NULL CHECK (rail ~ '^[a-z][a-z0-9_]{0,39}$'),
    account       text NOT NULL,
    bank_code     text NOT NULL,
    holder        text NOT NULL,
    email         text NOT NULL,
    requested_by  text NOT NULL CHECK (requested_by <> ''),
    approved_by   text,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, address_id),
    CHECK (direction = 'in' OR account <> ''),
    CONSTRAINT two_people_address CHECK (direction = 'in' OR coalesce(approved_by <> requested_by, false)),
    FOREIGN KEY (tenant, party_id) REFERENCES billing.party (tenant, party_id)
);
CREATE INDEX rail_address_of_party ON billing.rail_address (tenant, party_id, direction, address_id DESC);

-- What is still to be paid of each statement. Negative: credited after it was paid.
CREATE VIEW billing.statement_open WITH (security_invoker = true) AS
SELECT s.tenant, s.statement_id, s.number, s.currency, s.issued_at, s.due_on, s.total_minor, coalesce(c.credited_minor, 0)::bigint AS credited_minor,
    coalesce(a.allocated_minor, 0)::bigint AS allocated_minor, coalesce(w.written_off_minor, 0)::bigint AS written_off_minor,
    (s.total_minor - coalesce(c.credited_minor, 0) - coalesce(a.allocated_minor, 0) - coalesce(w.written_off_minor, 0))::bigint AS open_minor
FROM billing.statement s
LEFT JOIN LATERAL (
    SELECT sum(x.total_minor) AS credited_minor FROM billing.credit_note x
    WHERE x.tenant = s.tenant AND x.statement_id = s.statement_id
) c ON true
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor) AS allocated_minor FROM billing.payment_allocation x
    WHERE x.tenant = s.tenant AND x.statement_id = s.statement_id
) a ON true
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor) AS written_off_minor FROM billing.write_off x
    WHERE x.tenant = s.tenant AND x.statement_id = s.statement_id
) w ON true;

-- What of each payment pays nothing yet. A refund that failed holds nothing back.
CREATE VIEW billing.payment_unapplied WITH (security_invoker = true) AS
SELECT p.*, (p.amount_minor - coalesce(a.allocated_minor, 0) - coalesce(r.refunded_minor, 0))::bigint AS unapplied_minor
FROM billing.payment p
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor) AS allocated_minor FROM billing.payment_allocation x
    WHERE x.tenant = p.tenant AND x.payment_id = p.payment_id
) a ON true
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor) AS refunded_minor FROM billing.refund x
    WHERE x.tenant = p.tenant AND x.payment_id = p.payment_id AND NOT EXISTS (
        SELECT 1 FROM billing.rail_operation o WHERE o.tenant = x.tenant AND o.kind = 'refund'
        AND o.subject_id = x.refund_id AND o.state = 'failed' AND x.kind = 'refund'
    )
) r ON true;

CREATE FUNCTION billing.require_unapplied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM billing.ledger_head h WHERE h.tenant = NEW.tenant FOR UPDATE;
    IF EXISTS (SELECT 1 FROM billing.payment_unapplied p
               WHERE p.tenant = NEW.tenant AND p.payment_id = NEW.payment_id AND p.unapplied_minor < 0) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a payment cannot pay more than it brought';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER within_payment AFTER INSERT ON billing.payment_allocation
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.require_unapplied();
CREATE CONSTRAINT TRIGGER within_payment AFTER INSERT ON billing.refund
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.require_unapplied();

CREATE FUNCTION billing.require_open() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM billing.ledger_head h WHERE h.tenant = NEW.tenant FOR UPDATE;
    IF NEW.amount_minor > 0 AND EXISTS (SELECT 1 FROM billing.statement_open s
               WHERE s.tenant = NEW.tenant AND s.statement_id = NEW.statement_id AND s.open_minor < 0) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a statement cannot be paid more than it asks';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER within_statement AFTER INSERT ON billing.payment_allocation
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.require_open();
CREATE CONSTRAINT TRIGGER within_statement AFTER INSERT ON billing.write_off
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.require_open();

CREATE FUNCTION billing.require_same_pair() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM billing.ledger_head h WHERE h.tenant = NEW.tenant FOR UPDATE;
    IF (SELECT p.currency FROM billing.payment p WHERE p.tenant = NEW.tenant AND p.payment_id = NEW.payment_id)
        <> (SELECT s.currency FROM billing.statement s WHERE s.tenant = NEW.tenant AND s.statement_id = NEW.statement_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a payment pays statements of its own currency';
    END IF;
    IF NEW.reverses_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM billing.payment_allocation a WHERE a.tenant = NEW.tenant AND a.allocation_id = NEW.reverses_id
        AND a.payment_id = NEW.payment_id AND a.statement_id = NEW.statement_id AND a.amount_minor + (
            SELECT sum(r.amount_minor) FROM billing.payment_allocation r
            WHERE r.tenant = NEW.tenant AND r.reverses_id = NEW.reverses_id
        ) >= 0
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'no more is taken back than was allocated';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER same_pair AFTER INSERT ON billing.payment_allocation
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing.require_same_pair();

CALL billing.protect('payment', true);
CALL billing.protect('payment_allocation', true);
CALL billing.protect('refund', true);
CALL billing.protect('write_off', true);
CALL billing.protect('rail_address', true);
CALL billing.protect('rail_operation', false);
CALL billing.protect('rail_transition', true);
GRANT SELECT ON billing.statement_open, billing.payment_unapplied TO radmeter_app;

-- depends: billing-0070.payments
-- Lines of our bank's statements, what became of each, and orders that we gave the bank.

-- A line is stored once, whatever file it comes in: the digest says which line it is.
CREATE TABLE billing.bank_line (
    bank_line_id          bigint GENERATED ALWAYS AS IDENTITY,
    tenant                text NOT NULL CHECK (tenant <> ''),
    digest                text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    account               text NOT NULL, -- ours
    booked_on             date NOT NULL,
    value_on              date NOT NULL,
    currency              text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor          bigint NOT NULL CHECK (amount_minor <> 0), -- in positive, out negative
    charges_minor         bigint NOT NULL CHECK (charges_minor >= 0), -- kept by the bank before that
    counterparty_name     text NOT NULL,
    counterparty_account  text NOT NULL,
    remittance            text NOT NULL,
    end_to_end_id         text NOT NULL,
    bank_reference        text NOT NULL,
    is_return             boolean NOT NULL,
    file_sha256           text NOT NULL,
    imported_by           text NOT NULL CHECK (imported_by <> ''),
    imported_at           timestamptz NOT NULL,
    PRIMARY KEY (tenant, bank_line_id),
    UNIQUE (tenant, digest)
);

-- What became of a line; once.
CREATE TABLE billing.bank_line_use (
    tenant        text NOT NULL,
    bank_line_id  bigint NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('payment', 'operation', 'returned', 'dismissed')),
    payment_id    bigint,
    operation_id  bigint,
    reason        text NOT NULL CHECK (reason <> ''),
    decided_by    text NOT NULL CHECK (decided_by <> ''),
    decided_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, bank_line_id),
    CHECK ((outcome IN ('payment', 'returned')) = (payment_id IS NOT NULL)),
    CHECK ((outcome = 'operation') = (operation_id IS NOT NULL)),
    FOREIGN KEY (tenant, bank_line_id) REFERENCES billing.bank_line (tenant, bank_line_id),
    FOREIGN KEY (tenant, payment_id) REFERENCES billing.payment (tenant, payment_id),
    FOREIGN KEY (tenant, operation_id) REFERENCES billing.rail_operation (tenant, operation_id)
);

-- Whose account it is that payments come from: learned from lines that named a statement, or from a person.
CREATE TABLE billing.payer_account (
    tenant        text NOT NULL,
    account       text NOT NULL CHECK (account <> ''),
    party_id      text NOT NULL,
    bank_line_id  bigint NOT NULL,
    PRIMARY KEY (tenant, account),
    FOREIGN KEY (tenant, party_id) REFERENCES billing.party (tenant, party_id),
    FOREIGN KEY (tenant, bank_line_id) REFERENCES billing.bank_line (tenant, bank_line_id)
);

-- A file of orders for our bank, kept as it was written. An operation is in at most one.
CREATE TABLE billing.payment_order (
    order_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant      text NOT NULL CHECK (tenant <> ''),
    format      text NOT NULL CHECK (format IN ('csv', 'pain.001')),
    document    text NOT NULL,
    created_by  text NOT NULL CHECK (created_by <> ''),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant, order_id)
);
CREATE TABLE billing.payment_order_line (
    tenant        text NOT NULL,
    operation_id  bigint NOT NULL,
    generation    integer NOT NULL,
    order_id      bigint NOT NULL,
    PRIMARY KEY (tenant, operation_id, generation),
    FOREIGN KEY (tenant, order_id) REFERENCES billing.payment_order (tenant, order_id),
    FOREIGN KEY (tenant, operation_id) REFERENCES billing.rail_operation (tenant, operation_id)
);

CALL billing.protect('bank_line', true);
CALL billing.protect('bank_line_use', true);
CALL billing.protect('payer_account', true);
CALL billing.protect('payment_order', true);
CALL billing.protect('payment_order_line', true);

-- A look-up that found nothing new is no transition.
CREATE OR REPLACE FUNCTION billing.keep_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR (NEW.state, NEW.generation, NEW.detail, NEW.external_id)
        IS DISTINCT FROM (OLD.state, OLD.generation, OLD.detail, OLD.external_id) THEN
        INSERT INTO billing.rail_transition (tenant, operation_id, generation, state, detail, changed_at)
        VALUES (NEW.tenant, NEW.operation_id, NEW.generation, NEW.state, NEW.detail, NEW.changed_at);
    END IF;
    RETURN NULL;
END
$$;

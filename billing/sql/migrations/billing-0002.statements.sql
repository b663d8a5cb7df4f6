-- depends: billing-0001.usage
-- What was billed, and the journal.
--
-- A statement and a journal entry are sealed by their header: lines and postings are written first, the
-- header last; its trigger checks the sums, and nothing can be added once the header exists. The deferred
-- foreign key refuses lines and postings that never got a header.

-- A period of a contract that was billed. cutoff_sequence: every decision up to it was considered.
CREATE TABLE billing.period (
    tenant           text NOT NULL,
    contract_id      bigint NOT NULL,
    starts_on        date NOT NULL,
    ends_on          date NOT NULL CHECK (ends_on > starts_on),
    starts_at        timestamptz NOT NULL,
    ends_at          timestamptz NOT NULL CHECK (ends_at > starts_at),
    full_days        integer NOT NULL,
    cutoff_sequence  bigint NOT NULL,
    closed_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant, contract_id, starts_on),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);

-- The last statement number of each seller; it only ever goes up by one, in the transaction that issues.
CREATE TABLE billing.statement_counter (
    tenant       text NOT NULL,
    seller_id    text NOT NULL,
    last_number  integer NOT NULL CHECK (last_number >= 0),
    PRIMARY KEY (tenant, seller_id),
    FOREIGN KEY (tenant, seller_id) REFERENCES billing.party (tenant, party_id)
);

CREATE SEQUENCE billing.statement_id;
GRANT USAGE ON SEQUENCE billing.statement_id TO radmeter_app;

CREATE TABLE billing.statement (
    statement_id      bigint NOT NULL,
    tenant            text NOT NULL,
    seller_id         text NOT NULL,
    sequence_number   integer NOT NULL CHECK (sequence_number >= 1),
    number            text NOT NULL,
    contract_id       bigint NOT NULL,
    contract_version  integer NOT NULL,
    period_start      date NOT NULL,
    currency          text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    line_count        integer NOT NULL,
    subtotal_minor    bigint NOT NULL,
    tax_minor         bigint NOT NULL,
    total_minor       bigint NOT NULL CHECK (total_minor = subtotal_minor + tax_minor AND total_minor >= 0),
    cutoff_sequence   bigint NOT NULL,
    inputs_digest     text NOT NULL,
    output_digest     text NOT NULL,
    rating_version    text NOT NULL,
    document          text NOT NULL,
    document_sha256   text NOT NULL,
    issued_at         timestamptz NOT NULL,
    due_on            date NOT NULL,
    PRIMARY KEY (tenant, statement_id),
    UNIQUE (tenant, seller_id, sequence_number),
    UNIQUE (tenant, number),
    UNIQUE (tenant, contract_id, period_start),
    FOREIGN KEY (tenant, contract_id, period_start) REFERENCES billing.period (tenant, contract_id, starts_on),
    FOREIGN KEY (tenant, contract_id, contract_version)
        REFERENCES billing.contract_version (tenant, contract_id, version)
);

CREATE TABLE billing.statement_line (
    tenant         text NOT NULL,
    statement_id   bigint NOT NULL,
    line_number    integer NOT NULL CHECK (line_number >= 1),
    line_key       text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('usage', 'correction')),
    product        text NOT NULL,
    service_start  date NOT NULL,
    service_end    date NOT NULL,
    quantity       numeric NOT NULL,
    exact_amount   text NOT NULL, -- a fraction in major units, before rounding
    amount_minor   bigint NOT NULL,
    tax_minor      bigint NOT NULL,
    PRIMARY KEY (tenant, statement_id, line_number),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id)
        DEFERRABLE INITIALLY DEFERRED
);

-- Which statement charged an event: at most one, for ever.
CREATE TABLE billing.statement_event (
    tenant           text NOT NULL,
    ingest_sequence  bigint NOT NULL,
    statement_id     bigint NOT NULL,
    service_start    date NOT NULL,
    PRIMARY KEY (tenant, ingest_sequence),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX statement_event_of_statement ON billing.statement_event (tenant, statement_id);

CREATE FUNCTION billing.refuse_addition_to_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added JOIN billing.statement s USING (tenant, statement_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'billing.' || TG_TABLE_NAME || ': the statement is issued and takes nothing more';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed AFTER INSERT ON billing.statement_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_issued();
CREATE TRIGGER sealed AFTER INSERT ON billing.statement_event REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_issued();

CREATE FUNCTION billing.check_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines     record;
    last_used integer;
BEGIN
    SELECT count(*) AS line_count, coalesce(sum(l.amount_minor), 0) AS subtotal, coalesce(sum(l.tax_minor), 0) AS tax
    INTO lines FROM billing.statement_line l WHERE l.tenant = NEW.tenant AND l.statement_id = NEW.statement_id;
    IF (lines.line_count, lines.subtotal, lines.tax) IS DISTINCT FROM (NEW.line_count::bigint, NEW.subtotal_minor::numeric, NEW.tax_minor::numeric) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'the lines of a statement must sum to its totals';
    END IF;
    SELECT c.last_number INTO last_used FROM billing.statement_counter c
    WHERE c.tenant = NEW.tenant AND c.seller_id = NEW.seller_id;
    IF NEW.sequence_number IS DISTINCT FROM last_used THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a statement takes the number just counted';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER sums_and_number BEFORE INSERT ON billing.statement
    FOR EACH ROW EXECUTE FUNCTION billing.check_statement();

CREATE FUNCTION billing.count_by_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.tenant <> OLD.tenant OR NEW.seller_id <> OLD.seller_id OR NEW.last_number <> OLD.last_number + 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'statement numbers go up by one';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER by_one BEFORE UPDATE ON billing.statement_counter
    FOR EACH ROW EXECUTE FUNCTION billing.count_by_one();

-- The journal: one chain per tenant. sequence: from 1 without gaps.
CREATE TABLE billing.journal_entry (
    tenant           text NOT NULL CHECK (tenant <> ''),
    sequence         bigint NOT NULL CHECK (sequence >= 1),
    idempotency_key  text NOT NULL,
    template         text NOT NULL CHECK (template IN ('statement_issued')),
    reference        text NOT NULL,
    effective_at     timestamptz NOT NULL,
    booked_at        timestamptz NOT NULL,
    prev_hash        bytea NOT NULL CHECK (length(prev_hash) = 32),
    hash             bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (tenant, sequence),
    UNIQUE (tenant, idempotency_key)
);

-- amount_minor: debit positive, credit negative.
CREATE TABLE billing.posting (
    tenant          text NOT NULL,
    entry_sequence  bigint NOT NULL,
    position        integer NOT NULL CHECK (position >= 1),
    account         text NOT NULL CHECK (account ~ '^[a-z_]+(:[A-Za-z0-9 %._-]+)?$'),
    currency        text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor    bigint NOT NULL CHECK (amount_minor <> 0),
    PRIMARY KEY (tenant, entry_sequence, position),
    FOREIGN KEY (tenant, entry_sequence) REFERENCES billing.journal_entry (tenant, sequence)
        DEFERRABLE INITIALLY DEFERRED
);

-- The end of the chain, kept apart so that a cut-off tail is noticed.
CREATE TABLE billing.ledger_head (
    tenant    text PRIMARY KEY,
    sequence  bigint NOT NULL,
    hash      bytea NOT NULL
);

CREATE FUNCTION billing.refuse_addition_to_booked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added a JOIN billing.journal_entry e ON e.tenant = a.tenant AND e.sequence = a.entry_sequence) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'the journal entry is booked and takes nothing more';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed AFTER INSERT ON billing.posting REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_booked();

CREATE FUNCTION billing.check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head record;
BEGIN
    IF (SELECT count(*) FROM billing.posting p WHERE p.tenant = NEW.tenant AND p.entry_sequence = NEW.sequence) < 2
       OR EXISTS (
           SELECT 1 FROM billing.posting p WHERE p.tenant = NEW.tenant AND p.entry_sequence = NEW.sequence
           GROUP BY p.currency HAVING sum(p.amount_minor) <> 0
       ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'postings of an entry must sum to zero in each currency';
    END IF;
    SELECT h.sequence, h.hash INTO head FROM billing.ledger_head h WHERE h.tenant = NEW.tenant;
    IF NEW.sequence IS DISTINCT FROM head.sequence + 1 OR NEW.prev_hash IS DISTINCT FROM head.hash THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a journal entry continues the chain at its head';
    END IF;
    UPDATE billing.ledger_head h SET sequence = NEW.sequence, hash = NEW.hash WHERE h.tenant = NEW.tenant;
    RETURN NEW;
END
$$;
CREATE TRIGGER balanced_and_chained BEFORE INSERT ON billing.journal_entry
    FOR EACH ROW EXECUTE FUNCTION billing.check_entry();

CREATE FUNCTION billing.advance_by_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Depth 1 is a direct UPDATE; the head moves only from within the trigger of a new entry.
    IF pg_trigger_depth() < 2 OR NEW.tenant <> OLD.tenant OR NEW.sequence <> OLD.sequence + 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'the head of the ledger moves with a new entry';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER by_one BEFORE UPDATE ON billing.ledger_head
    FOR EACH ROW EXECUTE FUNCTION billing.advance_by_one();

CALL billing.protect('period', true);
CALL billing.protect('statement_counter', false);
CALL billing.protect('statement', true);
CALL billing.protect('statement_line', true);
CALL billing.protect('statement_event', true);
CALL billing.protect('journal_entry', true);
CALL billing.protect('posting', true);
CALL billing.protect('ledger_head', false);

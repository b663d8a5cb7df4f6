-- depends: billing-0004.books
-- Prepaid packages and what is taken from them; totals of usage by day; limits, their changes, alerts and what waited.

-- Products of a version that a package is sold by or taken for, so that metering of others asks nothing more.
CREATE TABLE billing.contract_prepaid (
    tenant       text NOT NULL,
    contract_id  bigint NOT NULL,
    version      integer NOT NULL,
    product      text NOT NULL,
    PRIMARY KEY (tenant, contract_id, version, product),
    FOREIGN KEY (tenant, contract_id, version) REFERENCES billing.contract_version (tenant, contract_id, version)
);

-- What one purchase bought. `remaining` moves only with an entry, and never below zero.
CREATE TABLE billing.wallet_lot (
    lot_id           bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL CHECK (tenant <> ''),
    contract_id      bigint NOT NULL,
    package          text NOT NULL,
    owner            text NOT NULL,
    product          text NOT NULL, -- whose usage event was the purchase
    ingest_sequence  bigint NOT NULL,
    quantity         numeric NOT NULL CHECK (quantity > 0 AND scale(quantity) <= 6),
    remaining        numeric NOT NULL CHECK (remaining >= 0 AND remaining <= quantity),
    in_money         boolean NOT NULL,
    priority         integer NOT NULL,
    effective_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL CHECK (expires_at > effective_at),
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, lot_id),
    UNIQUE (tenant, ingest_sequence),
    CHECK (NOT in_money OR quantity = trunc(quantity)),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);
CREATE INDEX wallet_lot_of_owner ON billing.wallet_lot (tenant, contract_id, package, owner);
CREATE INDEX wallet_lot_to_expire ON billing.wallet_lot (tenant, expires_at) WHERE remaining > 0;

-- What moved a balance. owed: taken before there was a lot; the entries that pay it name it in `pays`.
CREATE TABLE billing.wallet_entry (
    entry_id         bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL,
    contract_id      bigint NOT NULL,
    package          text NOT NULL,
    owner            text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('used', 'owed', 'returned', 'expired')),
    lot_id           bigint,
    quantity         numeric NOT NULL CHECK (quantity > 0 AND scale(quantity) <= 6),
    ingest_sequence  bigint,
    pays             bigint,
    occurred_at      timestamptz NOT NULL,
    written_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, entry_id),
    CHECK ((kind = 'owed') = (lot_id IS NULL)),
    CHECK ((kind = 'expired') = (ingest_sequence IS NULL)),
    CHECK (pays IS NULL OR kind IN ('used', 'returned')),
    FOREIGN KEY (tenant, lot_id) REFERENCES billing.wallet_lot (tenant, lot_id),
    FOREIGN KEY (tenant, pays) REFERENCES billing.wallet_entry (tenant, entry_id)
);
CREATE INDEX wallet_entry_of_lot ON billing.wallet_entry (tenant, lot_id);
CREATE INDEX wallet_entry_of_owner ON billing.wallet_entry (tenant, contract_id, package, owner);
CREATE INDEX wallet_entry_of_event ON billing.wallet_entry (tenant, ingest_sequence);

CREATE FUNCTION billing.move_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.lot_id IS NOT NULL THEN
        UPDATE billing.wallet_lot l
        SET remaining = l.remaining + CASE WHEN NEW.kind = 'returned' THEN NEW.quantity ELSE -NEW.quantity END
        WHERE l.tenant = NEW.tenant AND l.lot_id = NEW.lot_id AND l.contract_id = NEW.contract_id
          AND l.package = NEW.package AND l.owner = NEW.owner;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'an entry moves a lot of its own wallet';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves_balance BEFORE INSERT ON billing.wallet_entry
    FOR EACH ROW EXECUTE FUNCTION billing.move_balance();

CREATE FUNCTION billing.only_by_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Depth 1 is a direct UPDATE; the balance moves only from within the trigger of a new entry.
    IF pg_trigger_depth() < 2 OR to_jsonb(NEW) - 'remaining' <> to_jsonb(OLD) - 'remaining' THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a balance moves with a new entry';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER by_entry BEFORE UPDATE ON billing.wallet_lot FOR EACH ROW EXECUTE FUNCTION billing.only_by_entry();

CREATE FUNCTION billing.begin_whole() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.remaining <> NEW.quantity THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a lot begins with all that was bought';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER begins_whole BEFORE INSERT ON billing.wallet_lot FOR EACH ROW EXECUTE FUNCTION billing.begin_whole();

-- What was paid for a lot: its share of each document that sold or credited it. Minor units, before tax.
CREATE TABLE billing.wallet_value (
    tenant        text NOT NULL,
    lot_id        bigint NOT NULL,
    document      text NOT NULL, -- number of the statement or credit note
    line_number   integer NOT NULL,
    amount_minor  bigint NOT NULL,
    valued_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, lot_id, document, line_number),
    FOREIGN KEY (tenant, lot_id) REFERENCES billing.wallet_lot (tenant, lot_id)
);

-- What of a lot's value became revenue or breakage, with the journal entry that booked it.
CREATE TABLE billing.wallet_recognition (
    recognition_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant          text NOT NULL,
    lot_id          bigint NOT NULL,
    entry_id        bigint, -- null: value that came when the lot was used up already
    template        text NOT NULL CHECK (template IN ('prepaid_used', 'prepaid_expired')),
    amount_minor    bigint NOT NULL CHECK (amount_minor >= 0),
    journal_key     text NOT NULL,
    recognised_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant, recognition_id),
    UNIQUE (tenant, entry_id),
    FOREIGN KEY (tenant, lot_id) REFERENCES billing.wallet_lot (tenant, lot_id),
    FOREIGN KEY (tenant, entry_id) REFERENCES billing.wallet_entry (tenant, entry_id)
);
CREATE INDEX wallet_recognition_of_lot ON billing.wallet_recognition (tenant, lot_id);

-- Totals of what was delivered, by local day of the contract, up to a decision: quick to ask, never billed from.
CREATE TABLE billing.usage_day (
    tenant       text NOT NULL CHECK (tenant <> ''),
    contract_id  bigint NOT NULL,
    day          date NOT NULL,
    product      text NOT NULL,
    dimensions   jsonb NOT NULL,
    is_prepaid   boolean NOT NULL,
    quantity     numeric NOT NULL,
    event_count  bigint NOT NULL,
    PRIMARY KEY (tenant, contract_id, day, product, dimensions, is_prepaid),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);

CREATE TABLE billing.usage_day_head (
    tenant    text PRIMARY KEY CHECK (tenant <> ''),
    sequence  bigint NOT NULL
);

-- A limit raised or lowered between two versions of the contract; the latest one counts.
CREATE TABLE billing.limit_change (
    change_id         bigint GENERATED ALWAYS AS IDENTITY,
    tenant            text NOT NULL CHECK (tenant <> ''),
    contract_id       bigint NOT NULL,
    contract_version  integer NOT NULL,
    limit_id          text NOT NULL,
    bound             numeric NOT NULL CHECK (bound > 0),
    reason            text NOT NULL CHECK (reason <> ''),
    changed_by        text NOT NULL CHECK (changed_by <> ''),
    changed_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant, change_id),
    FOREIGN KEY (tenant, contract_id, contract_version)
        REFERENCES billing.contract_version (tenant, contract_id, version)
);

-- Each threshold speaks once in a window.
CREATE TABLE billing.limit_alert (
    tenant         text NOT NULL CHECK (tenant <> ''),
    contract_id    bigint NOT NULL,
    limit_id       text NOT NULL,
    window_start   date NOT NULL,
    percent        integer NOT NULL CHECK (percent > 0),
    used           numeric NOT NULL,
    bound          numeric NOT NULL,
    reached_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, contract_id, limit_id, window_start, percent),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);

-- Work that a limit held back, let through with a flag, or let go on after it had waited.
CREATE TABLE billing.run_decision (
    run_decision_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL CHECK (tenant <> ''),
    contract_id      bigint NOT NULL,
    product          text NOT NULL,
    study_ref        text NOT NULL,
    revision         integer NOT NULL,
    verdict          text NOT NULL CHECK (verdict IN ('wait', 'run_flagged', 'run')),
    limit_id         text NOT NULL,
    explanation      text NOT NULL,
    decided_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, run_decision_id),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);
CREATE INDEX run_decision_of_study ON billing.run_decision (tenant, study_ref, product);

CALL billing.protect('contract_prepaid', true);
CALL billing.protect('wallet_lot', false);
CALL billing.protect('wallet_entry', true);
CALL billing.protect('wallet_value', true);
CALL billing.protect('wallet_recognition', true);
CALL billing.protect('usage_day', false);
CALL billing.protect('usage_day_head', false);
CALL billing.protect('limit_change', true);
CALL billing.protect('limit_alert', true);
CALL billing.protect('run_decision', true);

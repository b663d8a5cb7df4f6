-- depends: billing-0050.splits
-- What payees are told and paid. A payout statement is sealed by its header, like a statement.

CREATE SEQUENCE billing.payout_statement_id;
GRANT USAGE ON SEQUENCE billing.payout_statement_id TO radmeter_app;

-- opening + moved = closing: what is owed to the payee. pending: payouts that are on their way. Negative
-- balances stay in `closing` and open the next statement.
CREATE TABLE billing.payout_statement (
    payout_statement_id  bigint NOT NULL,
    tenant               text NOT NULL,
    seller_id            text NOT NULL,
    party_id             text NOT NULL,
    currency             text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    period_start         date NOT NULL,
    period_end           date NOT NULL CHECK (period_end > period_start),
    sequence_number      integer NOT NULL CHECK (sequence_number >= 1),
    number               text NOT NULL,
    opening_minor        bigint NOT NULL,
    moved_minor          bigint NOT NULL,
    closing_minor        bigint NOT NULL CHECK (closing_minor = opening_minor + moved_minor),
    pending_minor        bigint NOT NULL CHECK (pending_minor >= 0),
    to_pay_minor         bigint NOT NULL CHECK (to_pay_minor = greatest(0, closing_minor - pending_minor)),
    document             text NOT NULL,
    document_sha256      text NOT NULL,
    issued_by            text NOT NULL CHECK (issued_by <> ''),
    issued_at            timestamptz NOT NULL,
    PRIMARY KEY (tenant, payout_statement_id),
    UNIQUE (tenant, seller_id, sequence_number),
    UNIQUE (tenant, number),
    UNIQUE (tenant, seller_id, party_id, currency, period_start)
);

-- Which payout statement told of a movement: at most one, for ever.
CREATE TABLE billing.payout_statement_movement (
    tenant               text NOT NULL,
    movement_id          bigint NOT NULL,
    payout_statement_id  bigint NOT NULL,
    PRIMARY KEY (tenant, movement_id),
    FOREIGN KEY (tenant, movement_id) REFERENCES billing.party_movement (tenant, movement_id),
    FOREIGN KEY (tenant, payout_statement_id) REFERENCES billing.payout_statement (tenant, payout_statement_id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX movement_of_payout_statement ON billing.payout_statement_movement (tenant, payout_statement_id);

CREATE FUNCTION billing.refuse_movement_to_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added JOIN billing.payout_statement s USING (tenant, payout_statement_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'the payout statement is issued and takes nothing more';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed AFTER INSERT ON billing.payout_statement_movement REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_movement_to_issued();

CREATE FUNCTION billing.check_payout_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved   numeric;
    before  record;
BEGIN
    SELECT coalesce(sum(m.amount_minor), 0) INTO moved FROM billing.payout_statement_movement x
    JOIN billing.party_movement m USING (tenant, movement_id)
    WHERE x.tenant = NEW.tenant AND x.payout_statement_id = NEW.payout_statement_id
      AND (m.seller_id, m.party_id, m.currency) = (NEW.seller_id, NEW.party_id, NEW.currency);
    SELECT s.closing_minor, s.period_start INTO before FROM billing.payout_statement s
    WHERE s.tenant = NEW.tenant AND (s.seller_id, s.party_id, s.currency) = (NEW.seller_id, NEW.party_id, NEW.currency)
    ORDER BY s.period_start DESC LIMIT 1;
    IF NEW.moved_minor <> moved OR NEW.opening_minor <> coalesce(before.closing_minor, 0)
       OR before.period_start >= NEW.period_start THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'a payout statement continues the last one by the movements that it tells of';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER continues BEFORE INSERT ON billing.payout_statement
    FOR EACH ROW EXECUTE FUNCTION billing.check_payout_statement();

-- What a guarantee came to in one period, decided once, also where nothing was topped up.
CREATE TABLE billing.split_guarantee (
    tenant            text NOT NULL,
    contract_id       bigint NOT NULL,
    period_start      date NOT NULL,
    split             text NOT NULL,
    party_id          text NOT NULL,
    currency          text NOT NULL,
    guaranteed_minor  bigint NOT NULL CHECK (guaranteed_minor >= 0),
    earned_minor      bigint NOT NULL,
    top_up_minor      bigint NOT NULL CHECK (top_up_minor = greatest(0, guaranteed_minor - earned_minor)),
    decided_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant, contract_id, period_start, split, party_id),
    FOREIGN KEY (tenant, contract_id, period_start) REFERENCES billing.period (tenant, contract_id, starts_on)
);

-- Money on its way to a payee: asked for by one, approved by another who is not the payee, then up to a rail.
CREATE TABLE billing.payout (
    payout_id            bigint GENERATED ALWAYS AS IDENTITY,
    tenant               text NOT NULL,
    kind                 text NOT NULL CHECK (kind IN ('statement', 'advance')),
    payout_statement_id  bigint CHECK ((payout_statement_id IS NULL) = (kind = 'advance')),
    contract_id          bigint CHECK ((contract_id IS NULL) = (kind = 'statement')),
    split                text CHECK ((split IS NULL) = (kind = 'statement')),
    seller_id            text NOT NULL,
    party_id             text NOT NULL,
    currency             text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount_minor         bigint NOT NULL CHECK (amount_minor > 0),
    state                text NOT NULL CHECK (state IN
        ('requested', 'approved', 'confirmed', 'failed', 'returned', 'cancelled')),
    detail               text NOT NULL DEFAULT '',
    requested_by         text NOT NULL CHECK (requested_by <> ''),
    requested_at         timestamptz NOT NULL,
    approved_by          text CHECK (approved_by <> ''),
    approver_party       text,
    revision             integer NOT NULL DEFAULT 1,
    changed_at           timestamptz NOT NULL,
    PRIMARY KEY (tenant, payout_id),
    UNIQUE (tenant, payout_statement_id),
    FOREIGN KEY (tenant, payout_statement_id) REFERENCES billing.payout_statement (tenant, payout_statement_id),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id),
    CONSTRAINT two_people_payout CHECK (approved_by IS DISTINCT FROM requested_by),
    CONSTRAINT not_the_payee CHECK (approved_by IS DISTINCT FROM party_id AND approver_party IS DISTINCT FROM party_id),
    CONSTRAINT approved_before_paid CHECK (state IN ('requested', 'cancelled') OR approved_by IS NOT NULL)
);
CREATE INDEX payout_of_party ON billing.payout (tenant, seller_id, party_id, currency);
-- An advance is paid once, unless it never arrived.
CREATE UNIQUE INDEX one_advance ON billing.payout (tenant, contract_id, split, party_id)
    WHERE kind = 'advance' AND state NOT IN ('returned', 'cancelled');

CREATE FUNCTION billing.move_payout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'requested' OR NEW.approved_by IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a payout begins as a request';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.tenant, NEW.payout_id, NEW.kind, NEW.payout_statement_id, NEW.contract_id, NEW.split, NEW.seller_id, NEW.party_id, NEW.currency, NEW.amount_minor, NEW.requested_by, NEW.requested_at)
        IS DISTINCT FROM (OLD.tenant, OLD.payout_id, OLD.kind, OLD.payout_statement_id, OLD.contract_id, OLD.split, OLD.seller_id, OLD.party_id, OLD.currency, OLD.amount_minor, OLD.requested_by, OLD.requested_at)
       OR (OLD.approved_by IS NOT NULL AND (NEW.approved_by, NEW.approver_party) IS DISTINCT FROM (OLD.approved_by, OLD.approver_party)) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'who gets what by whose word never changes';
    END IF;
    IF NOT (OLD.state, NEW.state) IN (
        ('requested', 'approved'), ('requested', 'cancelled'),
        ('approved', 'confirmed'), ('approved', 'failed'),
        ('failed', 'confirmed'),  -- turned out well after all
        ('failed', 'cancelled'),  -- given up: the amount is owed again
        ('confirmed', 'returned'),
        ('returned', 'confirmed'),
        ('cancelled', 'confirmed')  -- the rail paid what had been given up
    ) OR NEW.revision <> OLD.revision + 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'a payout does not go from ' || OLD.state || ' to ' || NEW.state;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON billing.payout
    FOR EACH ROW EXECUTE FUNCTION billing.move_payout();

CALL billing.protect('payout_statement', true);
CALL billing.protect('payout_statement_movement', true);
CALL billing.protect('split_guarantee', true);
CALL billing.protect('payout', false);

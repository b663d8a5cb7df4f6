-- depends: billing-0004.books
-- Whose money a line is: contributions, allocations, what was taken back, and what became payable.

-- Weights of a pool for one period of a contract, each with its evidence. The highest revision stands.
CREATE TABLE billing.contribution (
    tenant        text NOT NULL,
    contract_id   bigint NOT NULL,
    pool          text NOT NULL,
    period_start  date NOT NULL,
    revision      integer NOT NULL CHECK (revision >= 1),
    party_id      text NOT NULL,
    weight        numeric NOT NULL CHECK (weight > 0 AND weight <= 1000000000000 AND scale(weight) <= 8),
    evidence      text NOT NULL CHECK (evidence <> ''),
    set_by        text NOT NULL CHECK (set_by <> ''),
    set_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant, contract_id, pool, period_start, revision, party_id),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);

CREATE FUNCTION billing.refuse_contribution_to_issued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM billing.period p WHERE p.tenant = NEW.tenant AND p.contract_id = NEW.contract_id
        AND p.starts_on = NEW.period_start
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'the period is issued: its contributions are fixed';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER fixed_once_issued BEFORE INSERT ON billing.contribution
    FOR EACH ROW EXECUTE FUNCTION billing.refuse_contribution_to_issued();

-- What each party gets of a line, stored once; whatever comes later is computed from this and not again.
CREATE TABLE billing.split_allocation (
    allocation_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant         text NOT NULL,
    statement_id   bigint NOT NULL,
    line_number    integer NOT NULL,
    split          text NOT NULL,
    basis          text NOT NULL CHECK (basis IN ('billed', 'collected', 'reserve')),
    party_id       text NOT NULL,
    is_own         boolean NOT NULL, -- the seller's own part: no debt to anybody
    line_key       text NOT NULL,
    service_start  date NOT NULL,
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    base_minor     bigint NOT NULL,
    amount_minor   bigint NOT NULL,
    accrued_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant, allocation_id),
    UNIQUE (tenant, statement_id, line_number, split, party_id),
    FOREIGN KEY (tenant, statement_id, line_number)
        REFERENCES billing.statement_line (tenant, statement_id, line_number)
);
CREATE INDEX split_allocation_of_party ON billing.split_allocation (tenant, party_id);

-- Taken back by a credit note. amount_minor has the sign of the allocation where it takes from it.
CREATE TABLE billing.split_reversal (
    tenant         text NOT NULL,
    allocation_id  bigint NOT NULL,
    credit_note    text NOT NULL, -- its number
    amount_minor   bigint NOT NULL,
    reversed_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, allocation_id, credit_note),
    FOREIGN KEY (tenant, allocation_id) REFERENCES billing.split_allocation (tenant, allocation_id)
);

-- A payee's account with a seller: what became payable, what was promised on top, what was kept for an
-- advance, what was paid out. Positive: in the payee's favour. period_end: the service it belongs to, local day.
CREATE TABLE billing.party_movement (
    movement_id    bigint GENERATED ALWAYS AS IDENTITY,
    tenant         text NOT NULL,
    seller_id      text NOT NULL,
    party_id       text NOT NULL,
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    kind           text NOT NULL CHECK (kind IN
        ('released', 'withheld', 'guarantee', 'recouped', 'payout_sent', 'payout_returned')),
    amount_minor   bigint NOT NULL CHECK (amount_minor <> 0),
    allocation_id  bigint CHECK ((allocation_id IS NULL) = (kind NOT IN ('released', 'withheld'))),
    contract_id    bigint,
    period_end     date NOT NULL,
    reference      text NOT NULL,
    moved_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, movement_id),
    FOREIGN KEY (tenant, allocation_id) REFERENCES billing.split_allocation (tenant, allocation_id)
);
CREATE INDEX party_movement_of_allocation ON billing.party_movement (tenant, allocation_id);
CREATE INDEX party_movement_of_party ON billing.party_movement (tenant, seller_id, party_id, currency);

-- The parts of a line sum to what is divided, and an ordinary split divides the line's amount.
CREATE FUNCTION billing.check_allocation() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT a.statement_id, a.line_number, a.split INTO wrong
    FROM (SELECT DISTINCT tenant, statement_id, line_number, split FROM added) g
    JOIN billing.split_allocation a USING (tenant, statement_id, line_number, split)
    JOIN billing.statement_line l USING (tenant, statement_id, line_number)
    GROUP BY a.statement_id, a.line_number, a.split, l.amount_minor
    HAVING sum(a.amount_minor) <> min(a.base_minor) OR min(a.base_minor) <> max(a.base_minor)
        OR (min(a.basis) <> 'reserve' AND min(a.base_minor) <> l.amount_minor)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = format(
            'split %s of line %s of statement %s does not sum to its basis', wrong.split, wrong.line_number,
            wrong.statement_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sums_to_basis AFTER INSERT ON billing.split_allocation REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.check_allocation();

CALL billing.protect('contribution', true);
CALL billing.protect('split_allocation', true);
CALL billing.protect('split_reversal', true);
CALL billing.protect('party_movement', true);

-- Each allocation with what was taken back and what is payable of it.
CREATE VIEW billing.split_state WITH (security_invoker = true) AS
SELECT a.*, coalesce(r.reversed, 0)::bigint AS reversed_minor, coalesce(m.released, 0)::bigint AS released_minor
FROM billing.split_allocation a
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor) AS reversed FROM billing.split_reversal x
    WHERE x.tenant = a.tenant AND x.allocation_id = a.allocation_id
) r ON true
LEFT JOIN LATERAL (
    SELECT sum(x.amount_minor) AS released FROM billing.party_movement x
    WHERE x.tenant = a.tenant AND x.allocation_id = a.allocation_id
) m ON true;
GRANT SELECT ON billing.split_state TO radmeter_app;

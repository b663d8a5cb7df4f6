-- depends: billing-0060.credits
-- Lines of a statement that its buyer does not accept, and the register of tax documents.

CREATE SEQUENCE billing.dispute_id;
GRANT USAGE ON SEQUENCE billing.dispute_id TO radmeter_app;

CREATE TABLE billing.dispute (
    dispute_id       bigint NOT NULL,
    tenant           text NOT NULL,
    statement_id     bigint NOT NULL,
    state            text NOT NULL CHECK (state IN ('open', 'accepted', 'partial', 'rejected')),
    line_count       integer NOT NULL CHECK (line_count >= 1),
    reason           text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    opened_by        text NOT NULL CHECK (opened_by <> ''),
    opened_at        timestamptz NOT NULL,
    decision_reason  text CHECK (length(decision_reason) BETWEEN 1 AND 500),
    decided_by       text CHECK (decided_by <> ''),
    decided_at       timestamptz,
    credit_note_id   bigint,
    PRIMARY KEY (tenant, dispute_id),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id),
    FOREIGN KEY (tenant, credit_note_id) REFERENCES billing.credit_note (tenant, credit_note_id),
    CONSTRAINT nobody_decides_their_own CHECK (decided_by <> opened_by),
    CONSTRAINT decided_in_full CHECK (
        (state = 'open') = (decided_at IS NULL) AND (state = 'open') = (decided_by IS NULL)
        AND (state = 'open') = (decision_reason IS NULL)
        AND (state IN ('accepted', 'partial')) = (credit_note_id IS NOT NULL)
    )
);
CREATE INDEX dispute_of_statement ON billing.dispute (tenant, statement_id);

-- What is disputed of a line; tax_minor comes on top of amount_minor.
CREATE TABLE billing.dispute_line (
    tenant        text NOT NULL,
    dispute_id    bigint NOT NULL,
    statement_id  bigint NOT NULL,
    line_number   integer NOT NULL,
    amount_minor  bigint NOT NULL CHECK (amount_minor >= 0),
    tax_minor     bigint NOT NULL CHECK (tax_minor >= 0),
    PRIMARY KEY (tenant, dispute_id, line_number),
    FOREIGN KEY (tenant, dispute_id) REFERENCES billing.dispute (tenant, dispute_id) DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (tenant, statement_id, line_number)
        REFERENCES billing.statement_line (tenant, statement_id, line_number)
);
CREATE INDEX dispute_line_of_statement ON billing.dispute_line (tenant, statement_id, line_number);

CREATE FUNCTION billing.refuse_addition_to_dispute() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added JOIN billing.dispute d USING (tenant, dispute_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'the dispute is open and takes no more lines';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed AFTER INSERT ON billing.dispute_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_dispute();

CREATE FUNCTION billing.move_dispute() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state <> 'open' OR NEW.state = 'open' THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                MESSAGE = 'a dispute does not go from ' || OLD.state || ' to ' || NEW.state;
        END IF;
        IF (NEW.tenant, NEW.dispute_id, NEW.statement_id, NEW.line_count, NEW.reason, NEW.opened_by, NEW.opened_at)
            IS DISTINCT FROM (OLD.tenant, OLD.dispute_id, OLD.statement_id, OLD.line_count, OLD.reason, OLD.opened_by, OLD.opened_at) THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'what was disputed never changes';
        END IF;
        RETURN NEW;
    END IF;
    PERFORM billing.lock_credits(NEW.tenant, NEW.statement_id);
    IF NEW.state <> 'open' OR (
        SELECT count(*) FROM billing.dispute_line l
        WHERE l.tenant = NEW.tenant AND l.dispute_id = NEW.dispute_id AND l.statement_id = NEW.statement_id
    ) <> NEW.line_count THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a dispute begins open, with its lines';
    END IF;
    IF EXISTS (
        SELECT 1 FROM billing.dispute_line l JOIN billing.dispute_line other
            ON other.tenant = l.tenant AND other.statement_id = l.statement_id AND other.line_number = l.line_number
        JOIN billing.dispute d ON d.tenant = other.tenant AND d.dispute_id = other.dispute_id
        WHERE l.tenant = NEW.tenant AND l.dispute_id = NEW.dispute_id AND d.state = 'open'
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a line is in one open dispute at a time';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON billing.dispute
    FOR EACH ROW EXECUTE FUNCTION billing.move_dispute();

CREATE SEQUENCE billing.fiscal_id;
GRANT USAGE ON SEQUENCE billing.fiscal_id TO radmeter_app;

-- A tax document (fapiao) that the tax system issues for statements and credit notes. number, red_number: the tax
-- system's own. A red document cancels the whole of it.
CREATE TABLE billing.fiscal_document (
    fiscal_id     bigint NOT NULL,
    tenant        text NOT NULL,
    seller_id     text NOT NULL,
    buyer_id      text NOT NULL,
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state         text NOT NULL CHECK (state IN ('requested', 'cleared', 'red_requested', 'red_issued', 'failed')),
    item_count    integer NOT NULL CHECK (item_count >= 1),
    amount_minor  bigint NOT NULL,
    tax_minor     bigint NOT NULL,
    total_minor   bigint NOT NULL CHECK (total_minor = amount_minor + tax_minor AND total_minor > 0),
    number        text CHECK (number ~ '^[0-9A-Za-z-]{1,40}$'),
    issued_on     date,
    red_number    text CHECK (red_number ~ '^[0-9A-Za-z-]{1,40}$' AND red_number <> number),
    red_on        date,
    remark        text NOT NULL DEFAULT '' CHECK (length(remark) <= 500),
    requested_by  text NOT NULL CHECK (requested_by <> ''),
    requested_at  timestamptz NOT NULL,
    changed_by    text NOT NULL CHECK (changed_by <> ''),
    changed_at    timestamptz NOT NULL,
    PRIMARY KEY (tenant, fiscal_id),
    UNIQUE (tenant, seller_id, number),
    UNIQUE (tenant, seller_id, red_number),
    CHECK ((number IS NULL) = (issued_on IS NULL) AND (red_number IS NULL) = (red_on IS NULL)),
    CHECK ((state IN ('cleared', 'red_requested', 'red_issued')) = (number IS NOT NULL)),
    CHECK ((state = 'red_issued') = (red_number IS NOT NULL))
);

-- What it covers: parts of statements (above zero) less credit notes (below zero).
CREATE TABLE billing.fiscal_item (
    tenant          text NOT NULL,
    fiscal_id       bigint NOT NULL,
    item_number     integer NOT NULL CHECK (item_number >= 1),
    statement_id    bigint,
    credit_note_id  bigint,
    amount_minor    bigint NOT NULL,
    tax_minor       bigint NOT NULL,
    PRIMARY KEY (tenant, fiscal_id, item_number),
    FOREIGN KEY (tenant, fiscal_id) REFERENCES billing.fiscal_document (tenant, fiscal_id)
        DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id),
    FOREIGN KEY (tenant, credit_note_id) REFERENCES billing.credit_note (tenant, credit_note_id),
    CHECK (num_nonnulls(statement_id, credit_note_id) = 1),
    CHECK ((statement_id IS NOT NULL) = (amount_minor + tax_minor > 0))
);
CREATE INDEX fiscal_item_of_statement ON billing.fiscal_item (tenant, statement_id);
CREATE INDEX fiscal_item_of_credit_note ON billing.fiscal_item (tenant, credit_note_id);

CREATE FUNCTION billing.refuse_addition_to_fiscal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added JOIN billing.fiscal_document f USING (tenant, fiscal_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'the fiscal document is requested and takes nothing more';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed AFTER INSERT ON billing.fiscal_item REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_fiscal();

CREATE FUNCTION billing.lock_fiscal(tenant text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('radmeter.fiscal:' || tenant, 0))
$$;

-- What each statement and credit note has on documents that stand.
CREATE VIEW billing.fiscal_covered WITH (security_invoker = true) AS
SELECT i.tenant, i.statement_id, i.credit_note_id, sum(i.amount_minor) AS amount_minor, sum(i.tax_minor) AS tax_minor
FROM billing.fiscal_item i JOIN billing.fiscal_document f USING (tenant, fiscal_id)
WHERE f.state IN ('requested', 'cleared', 'red_requested')
GROUP BY i.tenant, i.statement_id, i.credit_note_id;
GRANT SELECT ON billing.fiscal_covered TO radmeter_app;

CREATE FUNCTION billing.move_fiscal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    items record;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NOT (OLD.state, NEW.state) IN (
            ('requested', 'cleared'), ('requested', 'failed'), ('cleared', 'red_requested'),
            ('red_requested', 'red_issued'),
            ('red_requested', 'cleared')  -- the red request was refused: the document still stands
        ) THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
                MESSAGE = 'a fiscal document does not go from ' || OLD.state || ' to ' || NEW.state;
        END IF;
        IF (NEW.tenant, NEW.fiscal_id, NEW.seller_id, NEW.buyer_id, NEW.currency, NEW.item_count, NEW.amount_minor, NEW.tax_minor, NEW.requested_by, NEW.requested_at)
            IS DISTINCT FROM (OLD.tenant, OLD.fiscal_id, OLD.seller_id, OLD.buyer_id, OLD.currency, OLD.item_count, OLD.amount_minor, OLD.tax_minor, OLD.requested_by, OLD.requested_at)
           OR (OLD.number IS NOT NULL AND (NEW.number, NEW.issued_on) IS DISTINCT FROM (OLD.number, OLD.issued_on)) THEN
            RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'what a fiscal document covers and its number never change';
        END IF;
        RETURN NEW;
    END IF;
    PERFORM billing.lock_fiscal(NEW.tenant);
    SELECT count(*) AS item_count, coalesce(sum(i.amount_minor), 0) AS amount, coalesce(sum(i.tax_minor), 0) AS tax
    INTO items FROM billing.fiscal_item i WHERE i.tenant = NEW.tenant AND i.fiscal_id = NEW.fiscal_id;
    IF NEW.state <> 'requested' OR (items.item_count, items.amount, items.tax)
        IS DISTINCT FROM (NEW.item_count::bigint, NEW.amount_minor::numeric, NEW.tax_minor::numeric) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a fiscal document begins requested, its items sum to its totals';
    END IF;
    -- With what other standing documents cover, nothing is covered beyond itself.
    IF EXISTS (
        SELECT 1 FROM billing.fiscal_item i JOIN billing.statement s USING (tenant, statement_id)
        LEFT JOIN billing.fiscal_covered c USING (tenant, statement_id)
        WHERE i.tenant = NEW.tenant AND i.fiscal_id = NEW.fiscal_id AND (
            i.amount_minor + coalesce(c.amount_minor, 0) > s.subtotal_minor
            OR i.tax_minor + coalesce(c.tax_minor, 0) > s.tax_minor)
    ) OR EXISTS (
        SELECT 1 FROM billing.fiscal_item i JOIN billing.credit_note n USING (tenant, credit_note_id)
        LEFT JOIN billing.fiscal_covered c USING (tenant, credit_note_id)
        WHERE i.tenant = NEW.tenant AND i.fiscal_id = NEW.fiscal_id AND (
            i.amount_minor + coalesce(c.amount_minor, 0) < -n.subtotal_minor
            OR i.tax_minor + coalesce(c.tax_minor, 0) < -n.tax_minor)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a fiscal document would cover more than was billed or credited';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON billing.fiscal_document
    FOR EACH ROW EXECUTE FUNCTION billing.move_fiscal();

CALL billing.protect('dispute', false);
CALL billing.protect('dispute_line', true);
CALL billing.protect('fiscal_document', false);
CALL billing.protect('fiscal_item', true);

-- depends: billing-0004.books
-- Numbers of documents other than statements, and credit notes.

-- The last number that an issuer gave in a series (CN credit notes, PO payout statements); it only ever goes
-- up by one, in the transaction that issues the document, and stays locked until that commits.
CREATE TABLE billing.document_counter (
    tenant       text NOT NULL,
    issuer_id    text NOT NULL,
    series       text NOT NULL CHECK (series ~ '^[A-Z]{2}$'),
    last_number  integer NOT NULL CHECK (last_number >= 0),
    PRIMARY KEY (tenant, issuer_id, series),
    FOREIGN KEY (tenant, issuer_id) REFERENCES billing.party (tenant, party_id)
);

CREATE FUNCTION billing.count_documents_by_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.last_number = 0 THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.tenant, NEW.issuer_id, NEW.series, NEW.last_number)
        = (OLD.tenant, OLD.issuer_id, OLD.series, OLD.last_number + 1) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'document numbers start at zero and go up by one';
END
$$;
CREATE TRIGGER by_one BEFORE INSERT OR UPDATE ON billing.document_counter
    FOR EACH ROW EXECUTE FUNCTION billing.count_documents_by_one();

CREATE SEQUENCE billing.credit_note_id;
GRANT USAGE ON SEQUENCE billing.credit_note_id TO radmeter_app;

-- Takes back part of an issued statement. Sealed by its header like a statement: lines first, header last.
-- approval_above_minor: the contract's limit, tax included, above which a second person approves; NULL: none.
CREATE TABLE billing.credit_note (
    credit_note_id        bigint NOT NULL,
    tenant                text NOT NULL,
    seller_id             text NOT NULL,
    sequence_number       integer NOT NULL CHECK (sequence_number >= 1),
    number                text NOT NULL,
    statement_id          bigint NOT NULL,
    currency              text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    line_count            integer NOT NULL CHECK (line_count >= 1),
    subtotal_minor        bigint NOT NULL,
    tax_minor             bigint NOT NULL,
    total_minor           bigint NOT NULL CHECK (total_minor = subtotal_minor + tax_minor AND total_minor >= 0),
    reason                text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    requested_by          text NOT NULL CHECK (requested_by <> ''),
    approved_by           text CHECK (approved_by <> ''),
    approval_above_minor  bigint,
    document              text NOT NULL,
    document_sha256       text NOT NULL,
    issued_at             timestamptz NOT NULL,
    PRIMARY KEY (tenant, credit_note_id),
    UNIQUE (tenant, seller_id, sequence_number),
    UNIQUE (tenant, number),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id),
    CONSTRAINT nobody_approves_their_own CHECK (approved_by <> requested_by),
    CONSTRAINT two_people_above_the_limit CHECK (
        total_minor <= approval_above_minor OR approval_above_minor IS NULL OR approved_by IS NOT NULL
    )
);
CREATE INDEX credit_note_of_statement ON billing.credit_note (tenant, statement_id);

-- credited_fraction: of the statement's line, after this note and all before it ('1/3'). Amounts have the sign
-- of the line and are what this note alone takes back; tax_minor comes on top of amount_minor.
CREATE TABLE billing.credit_note_line (
    tenant             text NOT NULL,
    credit_note_id     bigint NOT NULL,
    statement_id       bigint NOT NULL,
    line_number        integer NOT NULL,
    credited_fraction  text NOT NULL CHECK (credited_fraction ~ '^[0-9]+(/[0-9]+)?$'),
    amount_minor       bigint NOT NULL,
    tax_minor          bigint NOT NULL,
    PRIMARY KEY (tenant, credit_note_id, line_number),
    FOREIGN KEY (tenant, credit_note_id) REFERENCES billing.credit_note (tenant, credit_note_id)
        DEFERRABLE INITIALLY DEFERRED,
    FOREIGN KEY (tenant, statement_id, line_number)
        REFERENCES billing.statement_line (tenant, statement_id, line_number)
);
CREATE INDEX credit_note_line_of_statement ON billing.credit_note_line (tenant, statement_id, line_number);

CREATE FUNCTION billing.refuse_addition_to_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM added JOIN billing.credit_note c USING (tenant, credit_note_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'the credit note is issued and takes nothing more';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sealed AFTER INSERT ON billing.credit_note_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_credit_note();

-- One at a time for each statement, so that what was read about its credits still holds when more is written.
CREATE FUNCTION billing.lock_credits(tenant text, statement_id bigint) RETURNS void LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended('radmeter.credits:' || tenant || ':' || statement_id, 0))
$$;

CREATE FUNCTION billing.check_credit_note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lines     record;
    last_used integer;
    excess    integer;
BEGIN
    PERFORM billing.lock_credits(NEW.tenant, NEW.statement_id);
    SELECT count(*) AS line_count, coalesce(sum(l.amount_minor), 0) AS subtotal, coalesce(sum(l.tax_minor), 0) AS tax,
        coalesce(bool_and(l.statement_id = NEW.statement_id), true) AS is_of_statement
    INTO lines FROM billing.credit_note_line l WHERE l.tenant = NEW.tenant AND l.credit_note_id = NEW.credit_note_id;
    IF NOT lines.is_of_statement OR (lines.line_count, lines.subtotal, lines.tax)
        IS DISTINCT FROM (NEW.line_count::bigint, NEW.subtotal_minor::numeric, NEW.tax_minor::numeric) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'the lines of a credit note must sum to its totals';
    END IF;
    SELECT c.last_number INTO last_used FROM billing.document_counter c
    WHERE c.tenant = NEW.tenant AND c.issuer_id = NEW.seller_id AND c.series = 'CN';
    IF NEW.sequence_number IS DISTINCT FROM last_used THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a credit note takes the number just counted';
    END IF;
    -- All credits of a line together lie between nothing and the line itself, for its amount and for its tax.
    SELECT s.line_number INTO excess FROM billing.statement_line s JOIN (
        SELECT l.line_number, sum(l.amount_minor) AS amount, sum(l.tax_minor) AS tax FROM billing.credit_note_line l
        WHERE l.tenant = NEW.tenant AND l.statement_id = NEW.statement_id GROUP BY l.line_number
    ) credited USING (line_number)
    WHERE s.tenant = NEW.tenant AND s.statement_id = NEW.statement_id AND NOT (
        credited.amount BETWEEN least(0, s.amount_minor) AND greatest(0, s.amount_minor)
        AND credited.tax BETWEEN least(0, s.tax_minor) AND greatest(0, s.tax_minor)
    ) LIMIT 1;
    IF excess IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = format('line %s would be credited beyond what it charged', excess);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER sums_and_limits BEFORE INSERT ON billing.credit_note
    FOR EACH ROW EXECUTE FUNCTION billing.check_credit_note();

CALL billing.protect('document_counter', false);
CALL billing.protect('credit_note', true);
CALL billing.protect('credit_note_line', true);

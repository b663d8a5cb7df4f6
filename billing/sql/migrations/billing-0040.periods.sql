-- depends: billing-0004.books
-- Months of the books: which are closed to postings, and who closed and reopened them.

-- The zone in which the months of a tenant's books begin; UTC where there is no row.
CREATE TABLE billing.books_zone (
    tenant     text PRIMARY KEY CHECK (tenant <> ''),
    time_zone  text NOT NULL CHECK (time_zone <> '')
);

-- What became of a month of the books. The highest revision is the current one; a month without a row is open.
-- Closed months are one unbroken run: everything before the last closed month's end takes no more postings.
CREATE TABLE billing.accounting_period (
    tenant        text NOT NULL CHECK (tenant <> ''),
    month         date NOT NULL CHECK (extract(day FROM month) = 1),
    revision      integer NOT NULL CHECK (revision >= 1),
    state         text NOT NULL CHECK (state IN ('collecting', 'closed', 'reopening', 'open')),
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL CHECK (ends_at > starts_at),
    requested_by  text NOT NULL CHECK (requested_by <> ''),
    approved_by   text CHECK (approved_by <> '' AND approved_by <> requested_by),
    reason        text NOT NULL CHECK (state NOT IN ('reopening', 'open') OR reason <> ''),
    changed_at    timestamptz NOT NULL CHECK (changed_at >= ends_at),
    PRIMARY KEY (tenant, month, revision),
    CONSTRAINT two_people CHECK (state <> 'open' OR approved_by IS NOT NULL)
);

CREATE VIEW billing.accounting_month WITH (security_invoker = true) AS
SELECT DISTINCT ON (tenant, month) * FROM billing.accounting_period ORDER BY tenant, month, revision DESC;
GRANT SELECT ON billing.accounting_month TO radmeter_app;

CREATE FUNCTION billing.check_accounting_period() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last       record;
    last_shut  date;
    is_allowed boolean;
BEGIN
    -- The same row that every posting locks: whoever books at this moment is waited for.
    PERFORM 1 FROM billing.ledger_head h WHERE h.tenant = NEW.tenant FOR UPDATE;
    SELECT * INTO last FROM billing.accounting_month m WHERE m.tenant = NEW.tenant AND m.month = NEW.month;
    SELECT max(m.month) INTO last_shut FROM billing.accounting_month m
    WHERE m.tenant = NEW.tenant AND m.state IN ('closed', 'reopening');
    is_allowed := CASE NEW.state
        WHEN 'collecting' THEN coalesce(last.state, 'open') = 'open'
            AND coalesce(last_shut + interval '1 month' = NEW.month, true)
        WHEN 'closed' THEN (last.state = 'collecting' AND NEW.approved_by IS NOT NULL
            AND coalesce(last_shut + interval '1 month' = NEW.month, true)) OR last.state = 'reopening'
        WHEN 'reopening' THEN last.state = 'closed' AND last_shut = NEW.month
        ELSE last.state = 'reopening' AND last.requested_by = NEW.requested_by
    END;
    IF NEW.revision <> coalesce(last.revision, 0) + 1 OR is_allowed IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = format('%s of the books cannot go from %s to %s', to_char(NEW.month, 'YYYY-MM'),
                coalesce(last.state, 'open'), NEW.state);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER allowed_step BEFORE INSERT ON billing.accounting_period
    FOR EACH ROW EXECUTE FUNCTION billing.check_accounting_period();

CREATE FUNCTION billing.require_open_month() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    closed_until timestamptz;
BEGIN
    SELECT max(m.ends_at) INTO closed_until FROM billing.accounting_month m
    WHERE m.tenant = NEW.tenant AND m.state IN ('closed', 'reopening');
    IF NEW.effective_at < closed_until THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = format('the books are closed until %s: post in the next open month', closed_until);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER month_is_open BEFORE INSERT ON billing.journal_entry
    FOR EACH ROW EXECUTE FUNCTION billing.require_open_month();

CREATE FUNCTION billing.fix_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM billing.accounting_period p WHERE p.tenant = NEW.tenant) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
            MESSAGE = 'the zone of the books is set before their first month is closed, and then stays';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER before_first_month BEFORE INSERT ON billing.books_zone
    FOR EACH ROW EXECUTE FUNCTION billing.fix_zone();

-- Reports read the journal by time, by account and by what it refers to.
CREATE INDEX journal_entry_by_time ON billing.journal_entry (tenant, effective_at);
CREATE INDEX journal_entry_of_reference ON billing.journal_entry (tenant, reference);
CREATE INDEX posting_of_account ON billing.posting (tenant, account);

CALL billing.protect('books_zone', true);
CALL billing.protect('accounting_period', true);

-- depends: billing-0061.disputes billing-0070.payments
-- Reminders of statements that are overdue: each level once, with what was payable that day.

CREATE TABLE billing.reminder (
    tenant           text NOT NULL,
    statement_id     bigint NOT NULL,
    level            integer NOT NULL CHECK (level >= 1),
    as_of            date NOT NULL,
    open_minor       bigint NOT NULL,
    disputed_minor   bigint NOT NULL CHECK (disputed_minor >= 0),
    payable_minor    bigint NOT NULL CHECK (payable_minor = open_minor - disputed_minor AND payable_minor > 0),
    document         text NOT NULL,
    document_sha256  text NOT NULL,
    written_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, statement_id, level),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id)
);

-- Reminders of a statement go up: a milder one never follows a stronger one.
CREATE FUNCTION billing.check_reminder() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM billing.reminder r
        WHERE r.tenant = NEW.tenant AND r.statement_id = NEW.statement_id AND r.level > NEW.level
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a stronger reminder was written already';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER goes_up BEFORE INSERT ON billing.reminder
    FOR EACH ROW EXECUTE FUNCTION billing.check_reminder();

CALL billing.protect('reminder', true);

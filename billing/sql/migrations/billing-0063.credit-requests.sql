-- depends: billing-0062.reminders
-- Credits that wait for a second person.

CREATE TABLE billing.credit_request (
    request_id      bigint GENERATED ALWAYS AS IDENTITY,
    tenant          text NOT NULL,
    statement_id    bigint NOT NULL,
    lines           jsonb NOT NULL, -- [line, "1/3" | minor units | null for the rest], or null: all that is left
    reason          text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    state           text NOT NULL CHECK (state IN ('requested', 'approved', 'refused')),
    requested_by    text NOT NULL CHECK (requested_by <> ''),
    requested_at    timestamptz NOT NULL,
    decided_by      text CHECK (decided_by <> ''),
    decided_at      timestamptz,
    credit_note_id  bigint,
    PRIMARY KEY (tenant, request_id),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id),
    FOREIGN KEY (tenant, credit_note_id) REFERENCES billing.credit_note (tenant, credit_note_id),
    CONSTRAINT nobody_decides_their_own_request CHECK (decided_by <> requested_by),
    CHECK ((state = 'requested') = (decided_by IS NULL) AND (state = 'requested') = (decided_at IS NULL)),
    CHECK ((state = 'approved') = (credit_note_id IS NOT NULL))
);
CREATE INDEX credit_request_of_statement ON billing.credit_request (tenant, statement_id);

CREATE FUNCTION billing.move_credit_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_OP = 'INSERT' AND NEW.state <> 'requested') OR (TG_OP = 'UPDATE' AND (OLD.state <> 'requested' OR NEW.state = 'requested')) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a credit is requested, then approved or refused, once';
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.tenant, NEW.request_id, NEW.statement_id, NEW.lines, NEW.reason, NEW.requested_by, NEW.requested_at)
        IS DISTINCT FROM (OLD.tenant, OLD.request_id, OLD.statement_id, OLD.lines, OLD.reason, OLD.requested_by, OLD.requested_at) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'what was requested never changes';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves BEFORE INSERT OR UPDATE ON billing.credit_request
    FOR EACH ROW EXECUTE FUNCTION billing.move_credit_request();

CALL billing.protect('credit_request', false);

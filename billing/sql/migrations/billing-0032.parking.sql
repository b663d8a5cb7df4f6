-- depends: billing-0031.voids
-- An account whose figures break a bound is parked: nothing is issued until a person has looked and says why it may go on.

-- period_start: of the statement that broke the bound. released_*: by whom and why it goes on; that period may then break
-- that bound.
CREATE TABLE billing.account_parking (
    parking_id       bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL CHECK (tenant <> ''),
    contract_id      bigint NOT NULL,
    period_start     date NOT NULL,
    bound            text NOT NULL CHECK (bound IN ('negative', 'events_per_day', 'lines', 'variance')),
    explanation      text NOT NULL,
    parked_at        timestamptz NOT NULL,
    released_at      timestamptz,
    released_by      text CHECK (released_by <> ''),
    released_reason  text CHECK (released_reason <> ''),
    PRIMARY KEY (tenant, parking_id),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id),
    CHECK (num_nulls(released_at, released_by, released_reason) IN (0, 3))
);
CREATE UNIQUE INDEX parked_once ON billing.account_parking (tenant, contract_id) WHERE released_at IS NULL;

CREATE FUNCTION billing.release_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.released_at IS NOT NULL OR NEW.released_at IS NULL
        OR to_jsonb(NEW) - '{released_at,released_by,released_reason}'::text[]
            <> to_jsonb(OLD) - '{released_at,released_by,released_reason}'::text[]
    THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a parked account is released once';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER released_once BEFORE UPDATE ON billing.account_parking
    FOR EACH ROW EXECUTE FUNCTION billing.release_once();
CALL billing.protect('account_parking', false);

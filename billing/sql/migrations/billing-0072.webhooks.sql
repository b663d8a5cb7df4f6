-- depends: billing-0071.bank
-- Messages of a rail, and which tenants its worker visits.

-- A message names what changed; what it says about it is not kept, since the object is fetched anew. Whose it is
-- shows only then, so these rows belong to no tenant: `tenant` is `~` and the rail's name.
CREATE TABLE billing.webhook_inbox (
    inbox_id         bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL CHECK (tenant ~ '^~[a-z]+$'),
    event_id         text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    event_type       text NOT NULL CHECK (length(event_type) BETWEEN 1 AND 200),
    object_id        text NOT NULL CHECK (length(object_id) BETWEEN 1 AND 200),
    state            text NOT NULL CHECK (state IN ('received', 'done', 'ignored', 'parked')),
    attempts         integer NOT NULL DEFAULT 0,
    next_attempt_at  timestamptz NOT NULL,
    detail           text NOT NULL DEFAULT '',
    received_at      timestamptz NOT NULL,
    changed_at       timestamptz NOT NULL,
    PRIMARY KEY (tenant, inbox_id),
    UNIQUE (tenant, event_id)
);
CREATE INDEX webhook_inbox_open ON billing.webhook_inbox (tenant, next_attempt_at) WHERE state = 'received';

CREATE FUNCTION billing.move_message() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state IN ('done', 'ignored')
       OR (NEW.tenant, NEW.inbox_id, NEW.event_id, NEW.event_type, NEW.object_id, NEW.received_at)
        IS DISTINCT FROM (OLD.tenant, OLD.inbox_id, OLD.event_id, OLD.event_type, OLD.object_id, OLD.received_at) THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'a message of a rail never changes';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves BEFORE UPDATE ON billing.webhook_inbox FOR EACH ROW EXECUTE FUNCTION billing.move_message();

CALL billing.protect('webhook_inbox', false);

-- For the worker, which knows no tenant yet.
CREATE FUNCTION billing.every_tenant() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public AS $$
    SELECT tenant FROM tenant ORDER BY tenant
$$;
REVOKE ALL ON FUNCTION billing.every_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing.every_tenant() TO radmeter_app;

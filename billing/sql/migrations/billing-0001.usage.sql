-- depends: pipeline-0001.roles
-- Contracts, what happened, and what was decided about it.

CREATE SCHEMA billing;
GRANT USAGE ON SCHEMA billing TO radmeter_app;

CREATE FUNCTION billing.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'billing.' || TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END
$$;

-- Row-level security, grants and append-only triggers of one table; also as its owner nobody edits it.
CREATE PROCEDURE billing.protect(table_name text, is_append_only boolean) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE billing.%I ENABLE ROW LEVEL SECURITY', table_name);
    EXECUTE format('ALTER TABLE billing.%I FORCE ROW LEVEL SECURITY', table_name);
    EXECUTE format('CREATE POLICY own_tenant ON billing.%I USING (tenant = current_setting(''radmeter.tenant'', true)) '
        'WITH CHECK (tenant = current_setting(''radmeter.tenant'', true))', table_name);
    EXECUTE format('GRANT SELECT, INSERT ON billing.%I TO radmeter_app', table_name);
    IF is_append_only THEN
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing.%I '
            'FOR EACH ROW EXECUTE FUNCTION billing.refuse_change()', table_name);
    ELSE
        EXECUTE format('GRANT UPDATE ON billing.%I TO radmeter_app', table_name);
        EXECUTE format('CREATE TRIGGER never_deleted BEFORE DELETE ON billing.%I '
            'FOR EACH ROW EXECUTE FUNCTION billing.refuse_change()', table_name);
    END IF;
    EXECUTE format('CREATE TRIGGER never_truncated BEFORE TRUNCATE ON billing.%I '
        'FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_change()', table_name);
END
$$;

-- A legal entity; what is printed about it lies in each contract version.
CREATE TABLE billing.party (
    tenant      text NOT NULL CHECK (tenant <> ''),
    party_id    text NOT NULL,
    legal_name  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, party_id)
);

-- What all versions of an agreement share: who, in which money, in whose time.
CREATE TABLE billing.contract (
    contract_id  bigint GENERATED ALWAYS AS IDENTITY,
    tenant       text NOT NULL,
    name         text NOT NULL,
    seller_id    text NOT NULL,
    buyer_id     text NOT NULL,
    currency     text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    time_zone    text NOT NULL,
    anchor_day   integer NOT NULL CHECK (anchor_day BETWEEN 1 AND 31),
    first_day    date NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, contract_id),
    UNIQUE (tenant, name),
    FOREIGN KEY (tenant, seller_id) REFERENCES billing.party (tenant, party_id),
    FOREIGN KEY (tenant, buyer_id) REFERENCES billing.party (tenant, party_id)
);

CREATE TABLE billing.contract_version (
    tenant          text NOT NULL,
    contract_id     bigint NOT NULL,
    version         integer NOT NULL CHECK (version >= 1),
    effective_from  date NOT NULL,
    effective_at    timestamptz NOT NULL,
    source_text     text NOT NULL,
    source_sha256   text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, contract_id, version),
    UNIQUE (tenant, contract_id, effective_at),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);

-- Which products a version prices; the price itself is in the version's text.
CREATE TABLE billing.contract_rate (
    tenant         text NOT NULL,
    contract_id    bigint NOT NULL,
    version        integer NOT NULL,
    product        text NOT NULL,
    pricing_model  text NOT NULL,
    PRIMARY KEY (tenant, contract_id, version, product),
    FOREIGN KEY (tenant, contract_id, version) REFERENCES billing.contract_version (tenant, contract_id, version)
);
CREATE INDEX contract_rate_of_product ON billing.contract_rate (tenant, product);

-- What happened, as its source told it. The id is derived from the fact.
CREATE TABLE billing.usage_event (
    ingest_sequence  bigint GENERATED ALWAYS AS IDENTITY,
    tenant           text NOT NULL CHECK (tenant <> ''),
    source           text NOT NULL,
    event_id         text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('result_delivered', 'seen_again', 'refused', 'failed')),
    product          text NOT NULL,
    quantity         numeric NOT NULL CHECK (quantity > 0 AND quantity <= 1000000000000 AND scale(quantity) <= 6),
    occurred_at      timestamptz NOT NULL,
    received_at      timestamptz NOT NULL,
    study_ref        text NOT NULL,
    case_key         text NOT NULL,
    dimensions       jsonb NOT NULL,
    evidence         jsonb NOT NULL,
    payload_hash     bytea NOT NULL CHECK (length(payload_hash) = 32),
    -- kind is part of the key so that a decision can only refer to the kind that the event really has
    PRIMARY KEY (tenant, ingest_sequence, kind),
    UNIQUE (tenant, source, event_id)
);
CREATE INDEX usage_event_of_study ON billing.usage_event (tenant, study_ref);
CREATE INDEX usage_event_by_time ON billing.usage_event (tenant, occurred_at);

-- What was decided about an event. The highest revision is the current one; only a quarantined
-- event is decided again. A cutoff is a decision_sequence: it stands for everything decided by then.
CREATE TABLE billing.event_decision (
    decision_sequence  bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    tenant             text NOT NULL,
    ingest_sequence    bigint NOT NULL,
    kind               text NOT NULL,
    revision           integer NOT NULL CHECK (revision >= 1),
    outcome            text NOT NULL CHECK (outcome IN ('billable', 'not_billable', 'quarantined')),
    reason_code        text NOT NULL,
    explanation        text NOT NULL,
    policy             text NOT NULL,
    contract_id        bigint,
    contract_version   integer,
    case_key           text NOT NULL,
    decided_by         text NOT NULL,
    decided_at         timestamptz NOT NULL,
    PRIMARY KEY (tenant, ingest_sequence, revision),
    FOREIGN KEY (tenant, ingest_sequence, kind) REFERENCES billing.usage_event (tenant, ingest_sequence, kind),
    FOREIGN KEY (tenant, contract_id, contract_version)
        REFERENCES billing.contract_version (tenant, contract_id, version),
    -- A line exists only because a result was delivered and acknowledged, under a contract.
    CONSTRAINT only_deliveries_are_billable CHECK (
        outcome <> 'billable' OR (kind = 'result_delivered' AND contract_id IS NOT NULL AND contract_version IS NOT NULL)
    )
);
-- The same clinical question is billed once, whatever is sent again, retried or killed.
CREATE UNIQUE INDEX one_billable_decision_per_case ON billing.event_decision (tenant, contract_id, case_key)
    WHERE outcome = 'billable';
CREATE INDEX event_decision_quarantined ON billing.event_decision (tenant) WHERE outcome = 'quarantined';

CREATE FUNCTION billing.require_quarantined_before() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_revision integer;
    last_outcome  text;
BEGIN
    SELECT d.revision, d.outcome INTO last_revision, last_outcome FROM billing.event_decision d
    WHERE d.tenant = NEW.tenant AND d.ingest_sequence = NEW.ingest_sequence ORDER BY d.revision DESC LIMIT 1;
    IF NEW.revision <> coalesce(last_revision, 0) + 1 OR coalesce(last_outcome, 'quarantined') <> 'quarantined' THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'only a quarantined event is decided again';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER decided_once BEFORE INSERT ON billing.event_decision
    FOR EACH ROW EXECUTE FUNCTION billing.require_quarantined_before();

CALL billing.protect('party', false);
CALL billing.protect('contract', true);
CALL billing.protect('contract_version', true);
CALL billing.protect('contract_rate', true);
CALL billing.protect('usage_event', true);
CALL billing.protect('event_decision', true);

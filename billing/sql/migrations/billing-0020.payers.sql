-- depends: billing-0030.meters
-- A statement for each payer of a contract, each site's part of it, and verdicts on delivered results.

-- Statements before payers were named are the buyer's.
ALTER TABLE billing.statement ADD COLUMN payer_id text;
ALTER TABLE billing.statement NO FORCE ROW LEVEL SECURITY;
ALTER TABLE billing.contract NO FORCE ROW LEVEL SECURITY;
ALTER TABLE billing.statement DISABLE TRIGGER append_only;
UPDATE billing.statement s SET payer_id = c.buyer_id FROM billing.contract c
WHERE c.tenant = s.tenant AND c.contract_id = s.contract_id;
ALTER TABLE billing.statement ENABLE TRIGGER append_only;
ALTER TABLE billing.contract FORCE ROW LEVEL SECURITY;
ALTER TABLE billing.statement FORCE ROW LEVEL SECURITY;
ALTER TABLE billing.statement ALTER COLUMN payer_id SET NOT NULL,
    ADD FOREIGN KEY (tenant, payer_id) REFERENCES billing.party (tenant, party_id),
    DROP CONSTRAINT statement_tenant_contract_id_period_start_key,
    ADD CONSTRAINT one_statement_per_payer UNIQUE (tenant, contract_id, period_start, payer_id);

-- Where a contract has several payers: what each of its lines came to before it was shared.
CREATE TABLE billing.shared_line (
    tenant         text NOT NULL,
    contract_id    bigint NOT NULL,
    period_start   date NOT NULL,
    line_key       text NOT NULL,
    service_start  date NOT NULL,
    amount_minor   bigint NOT NULL,
    PRIMARY KEY (tenant, contract_id, period_start, line_key, service_start),
    FOREIGN KEY (tenant, contract_id, period_start) REFERENCES billing.period (tenant, contract_id, starts_on)
);

-- Lines whose parts on the payers' statements do not sum to what was shared.
CREATE VIEW billing.shared_unequally WITH (security_invoker = true) AS
SELECT a.tenant, a.contract_id, a.period_start, a.line_key, a.service_start, a.amount_minor,
    coalesce(sum(l.amount_minor), 0) AS stated_minor
FROM billing.shared_line a
LEFT JOIN billing.statement s ON s.tenant = a.tenant AND s.contract_id = a.contract_id
    AND s.period_start = a.period_start
LEFT JOIN billing.statement_line l ON l.tenant = s.tenant AND l.statement_id = s.statement_id
    AND l.line_key = a.line_key AND l.service_start = a.service_start
GROUP BY a.tenant, a.contract_id, a.period_start, a.line_key, a.service_start, a.amount_minor
HAVING coalesce(sum(l.amount_minor), 0) <> a.amount_minor;
GRANT SELECT ON billing.shared_unequally TO radmeter_app;

CREATE FUNCTION billing.check_shared() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM added a JOIN billing.shared_unequally u USING (tenant, contract_id, period_start)
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'the payers of a line must owe together what the line came to';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER sums_over_payers AFTER INSERT ON billing.shared_line REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.check_shared();

-- Each place's part of a statement's line. department: empty where a contract tells sites apart only; site: empty
-- for usage that names none.
CREATE TABLE billing.statement_site (
    tenant        text NOT NULL,
    statement_id  bigint NOT NULL,
    line_number   integer NOT NULL,
    site          text NOT NULL,
    department    text NOT NULL,
    quantity      numeric NOT NULL,
    amount_minor  bigint NOT NULL,
    tax_minor     bigint NOT NULL,
    PRIMARY KEY (tenant, statement_id, line_number, site, department),
    FOREIGN KEY (tenant, statement_id, line_number)
        REFERENCES billing.statement_line (tenant, statement_id, line_number),
    FOREIGN KEY (tenant, statement_id) REFERENCES billing.statement (tenant, statement_id)
        DEFERRABLE INITIALLY DEFERRED
);
CREATE TRIGGER sealed AFTER INSERT ON billing.statement_site REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_addition_to_issued();

-- Lines of statements with sites whose parts do not sum to them.
CREATE VIEW billing.sited_unequally WITH (security_invoker = true) AS
SELECT l.tenant, l.statement_id, l.line_number, l.amount_minor, l.tax_minor,
    coalesce(sum(p.amount_minor), 0) AS sited_minor, coalesce(sum(p.tax_minor), 0) AS sited_tax_minor
FROM billing.statement_line l
LEFT JOIN billing.statement_site p USING (tenant, statement_id, line_number)
WHERE EXISTS (
    SELECT 1 FROM billing.statement_site any_part
    WHERE any_part.tenant = l.tenant AND any_part.statement_id = l.statement_id
)
GROUP BY l.tenant, l.statement_id, l.line_number, l.amount_minor, l.tax_minor
HAVING (coalesce(sum(p.amount_minor), 0), coalesce(sum(p.tax_minor), 0)) <> (l.amount_minor, l.tax_minor);
GRANT SELECT ON billing.sited_unequally TO radmeter_app;

CREATE FUNCTION billing.check_sites() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM billing.sited_unequally u WHERE u.tenant = NEW.tenant AND u.statement_id = NEW.statement_id
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'the sites of a line must sum to its amount and tax';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER sums_over_sites BEFORE INSERT ON billing.statement
    FOR EACH ROW EXECUTE FUNCTION billing.check_sites();

-- What became of delivered results. withdrawn_sequence: of the decision that the verdict is void, if it is.
CREATE VIEW billing.verdict WITH (security_invoker = true) AS
SELECT o.tenant, o.case_key, o.product, o.occurred_at, o.dimensions ->> 'verdict' AS verdict,
    d.decision_sequence, (
        SELECT min(later.decision_sequence) FROM billing.event_decision later
        WHERE later.tenant = d.tenant AND later.ingest_sequence = d.ingest_sequence AND later.revision > d.revision
    ) AS withdrawn_sequence
FROM billing.usage_event o JOIN billing.event_decision d USING (tenant, ingest_sequence)
WHERE o.kind = 'outcome' AND d.reason_code = 'outcome';
GRANT SELECT ON billing.verdict TO radmeter_app;
CREATE INDEX usage_event_outcome ON billing.usage_event (tenant, case_key) WHERE kind = 'outcome';
CREATE INDEX event_decision_of_case ON billing.event_decision (tenant, case_key) WHERE outcome = 'billable';

CALL billing.protect('shared_line', true);
CALL billing.protect('statement_site', true);

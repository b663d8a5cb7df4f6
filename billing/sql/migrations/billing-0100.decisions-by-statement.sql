-- depends: billing-0081.usage-days
-- phase: expand
-- What a decision refers to is looked up once for all rows of a statement; a foreign key ran a query of its own and locked
-- what it found for each row. Events and versions are never changed nor deleted, so that what was found stays.
CREATE FUNCTION billing.require_decided_things() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        -- subqueries, no joins: each row is looked up by its key
        SELECT 1 FROM added a WHERE (
            SELECT 1 FROM billing.usage_event e
            WHERE e.tenant = a.tenant AND e.ingest_sequence = a.ingest_sequence AND e.kind = a.kind
        ) IS NULL
    ) OR EXISTS (
        SELECT 1 FROM (
            SELECT DISTINCT a.tenant, a.contract_id, a.contract_version FROM added a
            WHERE a.contract_id IS NOT NULL AND a.contract_version IS NOT NULL
        ) priced WHERE (
            SELECT 1 FROM billing.contract_version v
            WHERE v.tenant = priced.tenant AND v.contract_id = priced.contract_id AND v.version = priced.contract_version
        ) IS NULL
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = 'a decision is about an event, of the kind that it has, and by a version of a contract that there is';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refers AFTER INSERT ON billing.event_decision REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION billing.require_decided_things();

ALTER TABLE billing.event_decision
    DROP CONSTRAINT event_decision_tenant_ingest_sequence_kind_fkey,
    DROP CONSTRAINT event_decision_tenant_contract_id_contract_version_fkey;

-- A case is found by its claim. Keys of cases are random: each row went to another page of this index.
DROP INDEX billing.event_decision_of_case;

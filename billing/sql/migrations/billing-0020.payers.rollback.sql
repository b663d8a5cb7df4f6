DROP INDEX billing.event_decision_of_case, billing.usage_event_outcome;
DROP VIEW billing.verdict;
DROP TRIGGER sums_over_sites ON billing.statement;
DROP VIEW billing.sited_unequally, billing.shared_unequally;
DROP TABLE billing.statement_site, billing.shared_line;
DROP FUNCTION billing.check_sites, billing.check_shared;
ALTER TABLE billing.statement DROP CONSTRAINT one_statement_per_payer,
    ADD CONSTRAINT statement_tenant_contract_id_period_start_key UNIQUE (tenant, contract_id, period_start),
    DROP COLUMN payer_id;

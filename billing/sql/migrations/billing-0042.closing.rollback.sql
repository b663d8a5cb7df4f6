DROP VIEW billing.statement_account, billing.receivable_movement, billing.accounting_month;
DROP TABLE billing.close_sign_off, billing.close_waiver;
DROP TRIGGER closed_with_head ON billing.accounting_period;
DROP FUNCTION billing.keep_head;
ALTER TABLE billing.accounting_period DROP COLUMN head_sequence;
CREATE VIEW billing.accounting_month WITH (security_invoker = true) AS
SELECT DISTINCT ON (tenant, month) * FROM billing.accounting_period ORDER BY tenant, month, revision DESC;
GRANT SELECT ON billing.accounting_month TO radmeter_app;

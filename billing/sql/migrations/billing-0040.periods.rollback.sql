DROP INDEX billing.journal_entry_by_time, billing.journal_entry_of_reference, billing.posting_of_account;
DROP TRIGGER month_is_open ON billing.journal_entry;
DROP VIEW billing.accounting_month;
DROP TABLE billing.accounting_period, billing.books_zone;
DROP FUNCTION billing.check_accounting_period, billing.require_open_month, billing.fix_zone;

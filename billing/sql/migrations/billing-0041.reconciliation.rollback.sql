DROP TABLE billing.reconciliation_line, billing.reconciliation;

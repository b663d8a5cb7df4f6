DROP VIEW billing.current_usage, billing.billable_usage;

DROP VIEW billing.statement_open, billing.payment_unapplied;
DROP TABLE billing.rail_transition, billing.rail_operation, billing.rail_address, billing.write_off, billing.refund,
    billing.payment_allocation, billing.payment;
DROP FUNCTION billing.move_operation, billing.keep_transition, billing.require_unapplied, billing.require_open,
    billing.require_same_pair;

DROP TABLE billing.payout, billing.split_guarantee, billing.payout_statement_movement, billing.payout_statement;
DROP SEQUENCE billing.payout_statement_id;
DROP FUNCTION billing.move_payout, billing.check_payout_statement, billing.refuse_movement_to_issued;

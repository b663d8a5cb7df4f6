DROP VIEW billing.split_state;
DROP TABLE billing.party_movement, billing.split_reversal, billing.split_allocation, billing.contribution;
DROP FUNCTION billing.check_allocation, billing.refuse_contribution_to_issued;

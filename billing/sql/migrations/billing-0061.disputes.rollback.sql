DROP VIEW billing.fiscal_covered;
DROP TABLE billing.fiscal_item, billing.fiscal_document, billing.dispute_line, billing.dispute;
DROP SEQUENCE billing.fiscal_id, billing.dispute_id;
DROP FUNCTION billing.move_fiscal, billing.lock_fiscal, billing.refuse_addition_to_fiscal, billing.move_dispute,
    billing.refuse_addition_to_dispute;

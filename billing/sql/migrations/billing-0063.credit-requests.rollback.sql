DROP TABLE billing.credit_request;
DROP FUNCTION billing.move_credit_request;

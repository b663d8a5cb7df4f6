DROP TABLE billing.account_parking;
DROP FUNCTION billing.release_once;

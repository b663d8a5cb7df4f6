DROP TABLE billing.reminder;
DROP FUNCTION billing.check_reminder;

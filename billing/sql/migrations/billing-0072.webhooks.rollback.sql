DROP FUNCTION billing.every_tenant;
DROP TABLE billing.webhook_inbox;
DROP FUNCTION billing.move_message;

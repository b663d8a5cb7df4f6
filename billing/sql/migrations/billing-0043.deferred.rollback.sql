DROP VIEW billing.deferral_state;
DROP TABLE billing.deferral_movement, billing.deferral;

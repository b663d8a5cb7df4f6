ALTER TABLE billing.limit_alert DROP CONSTRAINT limit_alert_pkey;
ALTER TABLE billing.limit_alert ADD PRIMARY KEY (tenant, contract_id, limit_id, window_start, percent);
DROP VIEW billing.usage_change;
DROP TABLE billing.usage_day;
CREATE TABLE billing.usage_day (tenant text NOT NULL CHECK (tenant <> ''), contract_id bigint NOT NULL);

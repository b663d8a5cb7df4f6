DROP TABLE billing.payment_order_line, billing.payment_order, billing.payer_account, billing.bank_line_use,
    billing.bank_line;
CREATE OR REPLACE FUNCTION billing.keep_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing.rail_transition (tenant, operation_id, generation, state, detail, changed_at)
    VALUES (NEW.tenant, NEW.operation_id, NEW.generation, NEW.state, NEW.detail, NEW.changed_at);
    RETURN NULL;
END
$$;

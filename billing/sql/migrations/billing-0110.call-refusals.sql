-- depends: billing-0100.decisions-by-statement
-- phase: expand
-- Calls of API keys that a limit or a package refused: a row for each day of the contract.
CREATE TABLE billing.call_refusal (
    tenant       text NOT NULL CHECK (tenant <> ''),
    contract_id  bigint NOT NULL,
    limit_id     text NOT NULL,
    api_key      text NOT NULL,
    day          date NOT NULL,
    explanation  text NOT NULL, -- of the last one
    opens_at     timestamptz,   -- null: not by itself
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    calls        bigint NOT NULL CHECK (calls > 0),
    PRIMARY KEY (tenant, contract_id, limit_id, api_key, day),
    FOREIGN KEY (tenant, contract_id) REFERENCES billing.contract (tenant, contract_id)
);
CALL billing.protect('call_refusal', false);
CREATE INDEX call_refusal_by_time ON billing.call_refusal (tenant, last_at);

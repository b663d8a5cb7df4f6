DROP TABLE billing.call_refusal;

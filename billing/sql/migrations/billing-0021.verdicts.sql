-- depends: billing-0020.payers
-- What was said of results since the last statement is found without reading everything that was decided since.
CREATE INDEX event_decision_of_outcome ON billing.event_decision (tenant, decision_sequence) WHERE kind = 'outcome';

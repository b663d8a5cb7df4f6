DROP INDEX billing.event_decision_of_outcome;

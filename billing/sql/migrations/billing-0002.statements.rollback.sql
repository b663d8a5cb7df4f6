DROP TABLE billing.posting, billing.journal_entry, billing.ledger_head, billing.statement_event,
    billing.statement_line, billing.statement, billing.statement_counter, billing.period;
DROP SEQUENCE billing.statement_id;
DROP FUNCTION billing.refuse_addition_to_issued, billing.check_statement, billing.count_by_one,
    billing.refuse_addition_to_booked, billing.check_entry, billing.advance_by_one;

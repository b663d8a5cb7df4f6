DROP TABLE billing.credit_note_line, billing.credit_note, billing.document_counter;
DROP SEQUENCE billing.credit_note_id;
DROP FUNCTION billing.check_credit_note, billing.lock_credits, billing.refuse_addition_to_credit_note,
    billing.count_documents_by_one;

-- depends: billing-0003.views
-- The shapes that a journal entry may have, for credit, payment, prepayment, shares and payouts.

ALTER TABLE billing.journal_entry DROP CONSTRAINT journal_entry_template_check;
ALTER TABLE billing.journal_entry ADD CONSTRAINT journal_entry_template_check CHECK (
    template IN (
        'statement_issued',
        'credit_note_issued',
        'revenue_recognised',
        'prepaid_used',
        'prepaid_expired',
        'payment_received',
        'payment_applied',
        'payment_unapplied',
        'payment_refunded',
        'rail_fee_paid',
        'written_off',
        'split_accrued',
        'split_reversed',
        'split_released',
        'split_withheld',
        'guarantee_topped_up',
        'advance_paid',
        'advance_recouped',
        'payout_sent',
        'payout_returned',
        'reserve_accrued',
        'reserve_released'
    )
);

"""The ways that money takes: bank transfer by hand, Stripe. What is asked of them is in `intents`."""

from billing.rails.intents import (
    Part,
    credit_note_issued,
    request_collect,
    request_credit,
    request_payout,
    request_refund,
    request_take_back,
    statement_issued,
)

__all__ = [
    "Part",
    "credit_note_issued",
    "request_collect",
    "request_credit",
    "request_payout",
    "request_refund",
    "request_take_back",
    "statement_issued",
]

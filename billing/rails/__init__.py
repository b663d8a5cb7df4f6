"""The ways that money takes: bank transfer by hand, Stripe. What is asked of them is in `intents`."""

from billing.rails.intents import (
    Part,
    request_collect,
    request_credit,
    request_payout,
    request_refund,
    request_take_back,
)

__all__ = [
    "Part",
    "request_collect",
    "request_credit",
    "request_payout",
    "request_refund",
    "request_take_back",
]

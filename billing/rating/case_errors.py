"""What can go wrong with verdicts and with the statements of several payers."""

from __future__ import annotations

from billing.errors import BillingError


class AdjudicatorIsPayee(BillingError):
    """Whoever is paid for a result cannot judge it."""

    def __init__(self, adjudicator: str) -> None:
        super().__init__(
            f"{adjudicator!r} is paid for the result and cannot judge it: someone of the buyer gives the verdict"
        )
        self.adjudicator = adjudicator


class AdjudicatorUnknown(BillingError):
    """A verdict that decides about money says who gave it: evidence `adjudicator`, the id of a party."""


class OutcomeWithoutCase(BillingError, LookupError):
    """A verdict speaks of a case that was delivered and can be charged; record the delivery first."""


class WindowNotOver(BillingError):
    """`none` stands for the end of the window and carries its instant; before, there is only no verdict yet."""


class SiteNotFound(BillingError, LookupError):
    """The statement has no part for this site."""

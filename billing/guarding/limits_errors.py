"""What can go wrong with prepaid packages and limits."""

from __future__ import annotations

from billing.errors import BillingError


class PackageInUse(BillingError):
    """A purchase is taken back, and something was taken from its lot already."""


class LimitNotFound(BillingError, LookupError):
    """The contract has no limit of this name now."""


class LimitNotChanged(BillingError, ValueError):
    """A limit is changed to a number above zero, by somebody, for a reason."""


class PackageNotFound(BillingError, LookupError):
    """The contract has no prepaid package of this name now."""


class PurchaseNotPossible(BillingError, ValueError):
    """A purchase names a member where members have balances, and is sold once."""


class TrialTooLarge(BillingError, ValueError):
    """A trial of a contract on made-up usage is kept small enough for a page."""

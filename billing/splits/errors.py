"""What can go wrong between a line and the payout of its share."""

from __future__ import annotations

from billing.errors import BillingError


class ContributionMissing(BillingError, LookupError):
    """A pool has no weights for the period, so nobody can say whose share it is."""

    def __init__(self, pool: str, contract_name: str, starts_on: object) -> None:
        super().__init__(
            f"pool {pool!r} of contract {contract_name!r} has no contributions for the period from {starts_on}: "
            "set them with `radmeter contribution set`, then issue again"
        )
        self.pool = pool


class ContributionRefused(BillingError, ValueError):
    """These weights cannot be those of the pool's period."""


class ContributionFixed(BillingError):
    """The period is issued: its weights are what was shared by and stay."""


class NothingToState(BillingError):
    """The payee has no movement that is not stated yet, and no balance."""


class PayoutStatementNotFound(BillingError, LookupError):
    """No payout statement has this id for this tenant."""


class PayoutPeriodRefused(BillingError):
    """A payout statement follows the last one of its payee, for a period that has ended."""


class PayoutNotFound(BillingError, LookupError):
    """No payout has this id for this tenant."""


class PayoutRefused(BillingError):
    """Money leaves only on a second person's word, once, and never on that of its payee."""

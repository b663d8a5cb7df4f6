"""What can go wrong with the months, reports and reconciliations of the books."""

from __future__ import annotations

from datetime import datetime

from billing.errors import BillingError


class MonthIsClosed(BillingError):
    """The entry's time lies in a closed month of the books."""

    def __init__(self, effective_at: datetime, closed_until: datetime) -> None:
        super().__init__(
            f"the books are closed until {closed_until.isoformat()}: post what happened at "
            f"{effective_at.isoformat()} in the next open month"
        )
        self.closed_until = closed_until


class MonthNotChanged(BillingError):
    """A month of the books cannot go from its state to the wanted one."""


class SecondPersonNeeded(BillingError):
    """This needs two different people: whoever asked for it cannot also approve it."""


class ZoneNotKnown(BillingError, ValueError):
    """The zone of the books is not an IANA name like Asia/Shanghai."""


class HospitalCountRefused(BillingError, ValueError):
    """A hospital's own list cannot be read; nothing of it was used."""


class ReconciliationNotFound(BillingError, LookupError):
    """No reconciliation has this id for this tenant."""


class NotEarnedYet(BillingError, ValueError):
    """Revenue is recognised for days that are over."""

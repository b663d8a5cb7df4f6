"""What can go wrong with credit notes, disputes, fiscal documents and reminders."""

from __future__ import annotations

from billing.errors import BillingError


class CreditExceedsLine(BillingError, ValueError):
    """A credit takes back something, and at most what its line charged and earlier credits left."""

    def __init__(self, line_number: int | None, left: str) -> None:
        where = "the statement" if line_number is None else f"line {line_number}"
        super().__init__(f"cannot credit this: {left} can still be credited of {where}")
        self.line_number = line_number


class CreditNotPossible(BillingError, ValueError):
    """A credit note names lines of its statement and a reason, and gives money back."""


class ApprovalNeeded(BillingError):
    """Above the contract's limit a second person approves, and nobody approves what they asked for."""


class CreditNoteNotFound(BillingError, LookupError):
    """No credit note has this id for this tenant."""


class DisputeNotPossible(BillingError, ValueError):
    """A dispute names charges of a statement that no other open dispute names, and a reason."""


class DisputeWindowClosed(BillingError):
    """A line can be disputed for so many days after the statement was issued, as the contract says."""


class DisputeNotFound(BillingError, LookupError):
    """No dispute has this id for this tenant."""


class DisputeDecided(BillingError):
    """A dispute is decided once, and by somebody else than who opened it."""


class FiscalNotPossible(BillingError, ValueError):
    """A fiscal document covers what was billed to one buyer and stands on no other document."""


class FiscalNotFound(BillingError, LookupError):
    """No fiscal document has this id for this tenant."""


class FiscalFileRefused(BillingError, ValueError):
    """A file of fiscal numbers cannot be used; every problem with its line, and nothing of it was taken over."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class DunningDayAhead(BillingError, ValueError):
    """Reminders are written for today or an earlier day."""


class ReminderNotFound(BillingError, LookupError):
    """No reminder of this level was written on this statement."""


class CreditRequestNotFound(BillingError, LookupError):
    """No credit request has this id for this tenant."""


class CreditRequestDecided(BillingError):
    """A request for a credit is approved or refused once."""

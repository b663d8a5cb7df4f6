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

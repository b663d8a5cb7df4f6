"""A form about money: done as a whole, or nothing of it and the page again with the reason why not."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Response
from fastapi.responses import RedirectResponse

from billing.books.books_errors import ReconciliationNotFound
from billing.cash.payment_errors import BankLineNotFound, PaymentNotFound
from billing.errors import (
    BillingError,
    ContractNotFound,
    PeriodOutsideContract,
    StatementNotFound,
    UsageEventNotFound,
)
from billing.guarding.limits_errors import LimitNotFound, PackageNotFound
from billing.rating.case_errors import SiteNotFound
from billing.splits.errors import PayoutNotFound, PayoutStatementNotFound
from billing.statements.document_errors import (
    CreditNoteNotFound,
    CreditRequestNotFound,
    DisputeNotFound,
    FiscalNotFound,
)
from pipeline.database import Connection

NOT_FOUND = (
    BankLineNotFound, ContractNotFound, CreditNoteNotFound, CreditRequestNotFound, DisputeNotFound,
    FiscalNotFound, LimitNotFound,
    PackageNotFound, PaymentNotFound, PayoutNotFound, PayoutStatementNotFound, PeriodOutsideContract,
    ReconciliationNotFound, SiteNotFound, StatementNotFound, UsageEventNotFound,
)  # fmt: skip
"""What a page answers with 404: it is not there, or it is another tenant's."""


def attempt(
    conn: Connection,
    act: Callable[[], object],
    location: str | Callable[[], str],
    show_problem: Callable[[str], Response],
) -> Response:
    """Call `act` in a savepoint of the caller's transaction, then lead to `location`.

    show_problem: makes the page again from the sentence of a `BillingError`, with what was typed. What is not
    found is no problem to show: it stays an error, and the portal answers 404.
    """
    try:
        with conn.transaction():
            act()
    except NOT_FOUND:
        raise
    except BillingError as problem:
        return show_problem(str(problem))
    return RedirectResponse(location if isinstance(location, str) else location(), 303)

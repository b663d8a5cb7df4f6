"""Money that goes back or never comes: refunds, returned payments, write-offs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

from billing.books import accounting, ledger
from billing.books.ledger import BAD_DEBT, CASH, UNAPPLIED_CASH, Posting
from billing.cash.payment_errors import NotApproved, PaymentRefused
from billing.cash.payment_record import get_payment, lock, statement_account
from billing.cash.payments import unallocate
from billing.money import Money
from billing.queries import first_row, one_row, rows
from billing.rails import request_refund

Connection = psycopg.Connection[Any]


def refund(
    conn: Connection,
    tenant: str,
    payment_id: int,
    amount_minor: int | None = None,
    *,
    reason: str,
    requested_by: str,
    approved_by: str,
    now: datetime,
) -> int:
    """Ask for money of a payment that pays nothing to be sent back; two people agree. Returns the refund's id.

    The amount is held back at once, and booked when the rail has confirmed it. Money that pays a statement is
    unallocated first. Raises `NotApproved`, `PaymentNotFound`, `PaymentRefused`, `RailAddressMissing`.
    """
    if not approved_by or approved_by == requested_by:
        raise NotApproved
    lock(conn, tenant)
    unapplied = get_payment(conn, tenant, payment_id).unapplied
    asked = unapplied.amount_minor if amount_minor is None else amount_minor
    if not 0 < asked <= unapplied.amount_minor:
        raise PaymentRefused(
            f"of payment {payment_id} there are {unapplied} unapplied; unallocate more first"
        )
    values = {
        "tenant": tenant,
        "payment_id": payment_id,
        "kind": "refund",
        "external_id": None,
        "amount_minor": asked,
        "reason": reason,
        "requested_by": requested_by,
        "approved_by": approved_by,
        "requested_at": now,
    }
    refund_id = int(one_row(conn, "insert_refund", values)["refund_id"])
    request_refund(conn, tenant, refund_id, now=now)
    return refund_id


def return_payment(
    conn: Connection,
    tenant: str,
    payment_id: int,
    *,
    amount: Money,
    external_id: str,
    received_at: datetime,
    reason: str,
    by: str,
    now: datetime,
) -> None:
    """The bank or the card network took a payment back: its allocations end, the money leaves our cash.

    What pays nothing goes first; then the latest allocation. The same return again changes nothing.
    """
    lock(conn, tenant)
    payment = get_payment(conn, tenant, payment_id)
    key = {"tenant": tenant, "payment_id": payment_id, "external_id": external_id}
    if first_row(conn, "return_by_external_id", key) is not None:
        return
    if amount.currency != payment.amount.currency or not amount.amount_minor > 0:
        raise PaymentRefused(f"{amount} {amount.currency} is no return of payment {payment_id}")
    missing = amount.amount_minor - payment.unapplied.amount_minor
    for row in reversed(rows(conn, "allocations_of_payment", key)):
        if missing > 0 and row["amount_minor"] > 0 and row["standing_minor"] > 0:
            part = min(missing, row["standing_minor"])
            unallocate(conn, tenant, row["allocation_id"], part, reason=reason, by=by, now=now)
            missing -= part
    if missing > 0:
        raise PaymentRefused(f"payment {payment_id} brought less than the {amount} that went back")
    refund_id = one_row(
        conn,
        "insert_refund",
        {
            **key,
            "kind": "returned",
            "amount_minor": amount.amount_minor,
            "reason": reason,
            "requested_by": by,
            "approved_by": None,
            "requested_at": now,
        },
    )["refund_id"]
    book_refund(conn, tenant, refund_id, effective_at=received_at, now=now)


def book_refund(
    conn: Connection, tenant: str, refund_id: int, *, effective_at: datetime, now: datetime
) -> None:
    """The money of a refund or return has left: unapplied cash against cash."""
    _book(conn, tenant, refund_id, "refund", -1, effective_at=effective_at, now=now)


def book_refund_back(
    conn: Connection, tenant: str, refund_id: int, *, effective_at: datetime, now: datetime
) -> None:
    """A refund that had left came back: it is the payer's unapplied cash again."""
    _book(conn, tenant, refund_id, "refund_back", 1, effective_at=effective_at, now=now)


def _book(
    conn: Connection,
    tenant: str,
    refund_id: int,
    key: str,
    sign: int,
    *,
    effective_at: datetime,
    now: datetime,
) -> None:
    """sign: 1 where our cash grows, -1 where it shrinks."""
    row = one_row(conn, "refund_by_id", {"tenant": tenant, "refund_id": refund_id})
    came = Money(sign * row["amount_minor"], row["currency"])
    cash = Posting(f"{CASH}:{row['source']}", came)
    unapplied = Posting(f"{UNAPPLIED_CASH}:{row['payer_id']}", -came)
    ledger.post(
        conn,
        tenant,
        template="payment_received" if sign > 0 else "payment_refunded",
        idempotency_key=f"{key}:{refund_id}",
        reference=f"payment:{row['payment_id']}",
        # What was paid into stands first: the order is part of the entry.
        postings=(cash, unapplied) if sign > 0 else (unapplied, cash),
        effective_at=accounting.posting_time(conn, tenant, effective_at),
        booked_at=now,
    )


def write_off(
    conn: Connection,
    tenant: str,
    statement_id: int,
    amount_minor: int | None = None,
    *,
    reason: str,
    requested_by: str,
    approved_by: str,
    now: datetime,
) -> int:
    """Give up what a statement still asks, or a part of it; two people agree. Returns the write-off's id."""
    if not approved_by or approved_by == requested_by:
        raise NotApproved
    lock(conn, tenant)
    account = statement_account(conn, tenant, statement_id)
    most = account.still_open.amount_minor
    asked = Money(most if amount_minor is None else amount_minor, account.total.currency)
    if not 0 < asked.amount_minor <= most:
        raise PaymentRefused(
            f"{account.number} still asks {account.still_open}; {asked} cannot be written off"
        )
    values = {
        "tenant": tenant,
        "statement_id": statement_id,
        "amount_minor": asked.amount_minor,
        "reason": reason,
        "requested_by": requested_by,
        "approved_by": approved_by,
        "written_off_at": now,
    }
    write_off_id = int(one_row(conn, "insert_write_off", values)["write_off_id"])
    ledger.post(
        conn,
        tenant,
        template="written_off",
        idempotency_key=f"write_off:{write_off_id}",
        reference=f"write_off:{write_off_id}",
        postings=(Posting(BAD_DEBT, asked), Posting(account.receivable_account, -asked)),
        effective_at=now,
        booked_at=now,
    )
    return write_off_id

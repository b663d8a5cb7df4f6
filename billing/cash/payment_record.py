"""What is known of payments and of how far statements are paid; derived, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.books.ledger import GENESIS, RECEIVABLE
from billing.cash.payment_errors import PaymentNotFound
from billing.errors import StatementNotFound
from billing.money import Money
from billing.queries import Row, execute, first_row, one_row, rows

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Payment:
    """amount: what the payer gave. fee: what the rail kept of it. unapplied: what pays nothing yet."""

    payment_id: int
    payer_id: str
    source: str
    external_id: str
    amount: Money
    fee: Money
    unapplied: Money
    remittance: str
    received_at: datetime


@dataclass(frozen=True)
class Allocation:
    """amount: negative where it takes back the allocation `reverses_id`."""

    allocation_id: int
    payment_id: int
    statement_id: int
    amount: Money
    reverses_id: int | None


@dataclass(frozen=True)
class StatementAccount:
    """How far a statement is paid. still_open: negative where it was credited after it was paid."""

    statement_id: int
    number: str
    receivable_account: str
    total: Money
    credited: Money
    allocated: Money
    written_off: Money
    still_open: Money

    @property
    def status(self) -> str:
        """`paid`, `partly paid` or `open`: derived, never stored."""
        if self.still_open.amount_minor <= 0:
            return "paid"
        return "partly paid" if self.allocated else "open"


@dataclass(frozen=True)
class OpenStatement:
    """A statement that its payer may pay. still_open: what of it."""

    statement_id: int
    number: str
    payer_id: str
    still_open: Money


def open_amount(conn: Connection, tenant: str, statement_id: int) -> Money:
    """What is still to be paid: total − credits − allocations − written off. Raises `StatementNotFound`."""
    return statement_account(conn, tenant, statement_id).still_open


def statement_account(conn: Connection, tenant: str, statement_id: int) -> StatementAccount:
    """How far a statement is paid; raises `StatementNotFound`."""
    row = first_row(conn, "open_of_statement", {"tenant": tenant, "statement_id": statement_id})
    if row is None:
        raise StatementNotFound(f"no statement {statement_id}")
    parts = (Money(row[f"{name}_minor"], row["currency"]) for name in _PARTS)
    return StatementAccount(statement_id, row["number"], row["receivable_account"] or RECEIVABLE, *parts)


_PARTS = ("total", "credited", "allocated", "written_off", "open")


def get_payment(conn: Connection, tenant: str, payment_id: int) -> Payment:
    """Raises `PaymentNotFound`."""
    row = first_row(conn, "payment_by_id", {"tenant": tenant, "payment_id": payment_id})
    if row is None:
        raise PaymentNotFound(f"no payment {payment_id}")
    return payment_of(row)


def list_payments(
    conn: Connection, tenant: str, *, only_unapplied: bool = False, limit: int = 1000
) -> list[Payment]:
    """Latest first. only_unapplied: those with money that pays nothing yet."""
    values = {"tenant": tenant, "only_unapplied": only_unapplied, "limit": limit}
    return [payment_of(row) for row in rows(conn, "payments", values)]


def open_statements(
    conn: Connection, tenant: str, *, also_paid: bool = False, limit: int = 10_000
) -> list[OpenStatement]:
    """What is to be paid, soonest due first. also_paid: the paid ones too."""
    values = {"tenant": tenant, "also_paid": also_paid, "limit": limit}
    return [
        OpenStatement(
            row["statement_id"], row["number"], row["payer_id"], Money(row["open_minor"], row["currency"])
        )
        for row in rows(conn, "open_statements", values)
    ]


def lock(conn: Connection, tenant: str) -> None:
    """Wait for whoever books for this tenant; the lock ends with the transaction. Needs READ COMMITTED."""
    execute(conn, "insert_head", {"tenant": tenant, "hash": GENESIS})
    one_row(conn, "lock_head", {"tenant": tenant})


def payment_of(row: Row) -> Payment:
    """A payment from its row of `payment_unapplied`."""
    amount, fee, unapplied = (
        Money(row[f"{name}_minor"], row["currency"]) for name in ("amount", "fee", "unapplied")
    )
    return Payment(
        payment_id=row["payment_id"],
        payer_id=row["payer_id"],
        source=row["source"],
        external_id=row["external_id"],
        amount=amount,
        fee=fee,
        unapplied=unapplied,
        remittance=row["remittance"],
        received_at=row["received_at"],
    )

"""Bank lines as they lie in the database: stored once, and what became of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.bank.line import BankLine, digests
from billing.cash.payment_errors import BankLineNotFound, BankLineUsed
from billing.money import Money
from billing.queries import Row, execute, first_row, rows

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class StoredLine:
    """A line with its id and digest; the digest is its payment's external id."""

    bank_line_id: int
    digest: str
    line: BankLine


def add(
    conn: Connection, tenant: str, lines: Sequence[BankLine], *, data: bytes, by: str, now: datetime
) -> list[StoredLine]:
    """Store the lines of a file; those that are stored already are left out. data: the file they came in."""
    new = []
    for digest, line in digests(lines):
        values = {
            "tenant": tenant,
            "digest": digest,
            **{name: getattr(line, name) for name in _PLAIN},
            "currency": line.amount.currency,
            "amount_minor": line.amount.amount_minor,
            "charges_minor": line.charges.amount_minor,
            "file_sha256": hashlib.sha256(data).hexdigest(),
            "imported_by": by,
            "imported_at": now,
        }
        row = first_row(conn, "insert_bank_line", values)
        if row is not None:
            new.append(StoredLine(row["bank_line_id"], digest, line))
    return new


_PLAIN = (
    "account", "booked_on", "value_on", "counterparty_name", "counterparty_account", "remittance",
    "end_to_end_id", "bank_reference", "is_return",
)  # fmt: skip


def unused(conn: Connection, tenant: str, limit: int = 10_000) -> list[StoredLine]:
    """The lines of which nothing became yet, oldest first."""
    return [_stored(row) for row in rows(conn, "bank_lines_unused", {"tenant": tenant, "limit": limit})]


def get(conn: Connection, tenant: str, bank_line_id: int) -> StoredLine:
    """A line of which nothing became yet; raises `BankLineNotFound`, `BankLineUsed`."""
    row = first_row(conn, "bank_line_by_id", {"tenant": tenant, "bank_line_id": bank_line_id})
    if row is None:
        raise BankLineNotFound(f"no bank line {bank_line_id}")
    if row["outcome"] is not None:
        raise BankLineUsed(f"bank line {bank_line_id} is settled: {row['reason']}")
    return _stored(row)


def use(
    conn: Connection,
    tenant: str,
    bank_line_id: int,
    outcome: str,
    *,
    reason: str,
    by: str,
    now: datetime,
    payment_id: int | None = None,
    operation_id: int | None = None,
) -> None:
    """Write down what became of a line, once."""
    values = {
        "tenant": tenant,
        "bank_line_id": bank_line_id,
        "outcome": outcome,
        "payment_id": payment_id,
        "operation_id": operation_id,
        "reason": reason,
        "decided_by": by,
        "decided_at": now,
    }
    execute(conn, "insert_bank_line_use", values)


def learn_payer(conn: Connection, tenant: str, stored: StoredLine, party_id: str) -> None:
    """Remember whose account a payment came from; what is known already stays."""
    if stored.line.counterparty_account:
        values = {
            "tenant": tenant,
            "account": stored.line.counterparty_account,
            "party_id": party_id,
            "bank_line_id": stored.bank_line_id,
        }
        execute(conn, "insert_payer_account", values)


def payer_accounts(conn: Connection, tenant: str) -> dict[str, str]:
    """Account → party that paid from it."""
    return {row["account"]: row["party_id"] for row in rows(conn, "payer_accounts", {"tenant": tenant})}


def _stored(row: Row) -> StoredLine:
    line = BankLine(
        **{name: row[name] for name in _PLAIN},
        amount=Money(row["amount_minor"], row["currency"]),
        charges=Money(row["charges_minor"], row["currency"]),
    )
    return StoredLine(row["bank_line_id"], row["digest"], line)

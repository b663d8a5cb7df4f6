"""Books what happens to shares: one entry for what goes up, and one by the mirrored template for what goes down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.books import ledger
from billing.books.ledger import Posting
from billing.money import Money
from billing.queries import execute, rows

Connection = psycopg.Connection[Any]
_MIRRORS = {
    "split_accrued": "split_reversed",
    "split_released": "split_withheld",
    "reserve_accrued": "reserve_released",
}


@dataclass(frozen=True)
class Fact:
    """What is booked: its tenant, what it refers to, and its times. key: names the fact within the tenant."""

    tenant: str
    currency: str
    key: str
    reference: str
    effective_at: datetime
    booked_at: datetime


def book(
    conn: Connection, fact: Fact, template: str, amounts: Mapping[str, int], *, rail: str | None = None
) -> None:
    """Book `amounts` by party (minor units); negative ones by the mirror of `template`.

    rail: whose cash it is; every other account is the party's.
    """
    _post(conn, fact, template, {party: amount for party, amount in amounts.items() if amount > 0}, rail)
    negative = {party: -amount for party, amount in amounts.items() if amount < 0}
    if negative:
        _post(conn, fact, _MIRRORS[template], negative, rail)


def _post(conn: Connection, fact: Fact, template: str, amounts: Mapping[str, int], rail: str | None) -> None:
    signs = ledger.TEMPLATES[template]
    postings = [
        Posting(
            f"{account}:{rail if account == ledger.CASH else party}",
            Money(sign * amounts[party], fact.currency),
        )
        for party in sorted(amounts)
        for account, sign in signs.items()
    ]
    if postings:
        ledger.post(
            conn,
            fact.tenant,
            template=template,
            idempotency_key=f"{template}:{fact.key}",
            reference=fact.reference,
            postings=postings,
            effective_at=fact.effective_at,
            booked_at=fact.booked_at,
        )


def lock_books(conn: Connection, tenant: str) -> None:
    """One at a time changes what payees are owed; what is read next saw everything booked before."""
    execute(conn, "insert_head", {"tenant": tenant, "hash": ledger.GENESIS})
    rows(conn, "lock_head", {"tenant": tenant})

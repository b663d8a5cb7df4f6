"""Payees: what each party earned by its shares, seen by itself or by finance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from billing.money import Money
from billing.queries import rows

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Payee:
    """A party that shares in statements. balance: payable and not paid out yet; negative: paid too much."""

    party_id: str
    name: str
    balance: Money


@dataclass(frozen=True)
class EarnedShare:
    """One share of one contract in one period of service. base: what it was taken from, tax excluded.

    earned: as allocated at issue; reversed: taken back by credit notes; payable: became due so far.
    """

    contract_name: str
    service_start: date
    split: str
    basis: str
    line_count: int
    base: Money
    earned: Money
    reversed: Money
    payable: Money


def payees(conn: Connection, tenant: str, party_id: str | None = None) -> list[Payee]:
    """All of the tenant, or one party alone; a row for each currency."""
    found = rows(conn, "payees", {"tenant": tenant, "party_id": party_id})
    return [
        Payee(row["party_id"], row["legal_name"], Money(row["balance_minor"], row["currency"]))
        for row in found
    ]


def earned_shares(conn: Connection, tenant: str, party_id: str, limit: int = 500) -> list[EarnedShare]:
    """Latest periods first."""
    found = rows(conn, "shares_of_party", {"tenant": tenant, "party_id": party_id, "limit": limit})
    return [
        EarnedShare(
            row["contract_name"],
            row["service_start"],
            row["split"],
            row["basis"],
            row["line_count"],
            *(
                Money(row[name], row["currency"])
                for name in ("base_minor", "amount_minor", "reversed_minor", "payable_minor")
            ),
        )
        for row in found
    ]

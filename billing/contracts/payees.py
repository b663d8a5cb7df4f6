"""Payees: what each party earned by its shares, seen by itself or by finance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg

from billing.money import Money
from billing.queries import rows
from billing.splits import payout, payout_record
from billing.splits.payout import Payout
from billing.splits.payout_record import PayoutStatement

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


def payout_statements(
    conn: Connection, tenant: str, party_id: str, limit: int = 200
) -> list[PayoutStatement]:
    """Issued to one party, latest month first."""
    values = {"tenant": tenant, "party_id": party_id, "limit": limit}
    return [
        payout_record.from_text(row["document"], row["payout_statement_id"])
        for row in rows(conn, "payout_statements_of_party", values)
    ]


def payouts(conn: Connection, tenant: str, party_id: str, limit: int = 200) -> list[Payout]:
    """To one party, latest first."""
    values = {"tenant": tenant, "party_id": party_id, "limit": limit}
    return [payout.get(conn, tenant, row["payout_id"]) for row in rows(conn, "payouts_of_party", values)]

"""Sub-ledgers against their control accounts: what is known item by item must sum to what the journal says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from billing.money import Money
from billing.queries import rows

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Control:
    """sub_ledger: the sum of the items. control: the account's balance in the journal. Debit positive."""

    account: str
    sub_ledger: Money
    control: Money

    @property
    def difference(self) -> Money:
        return self.control - self.sub_ledger


def compare(conn: Connection, tenant: str) -> list[Control]:
    """Receivables by payer, unapplied cash by payer, prepaid by contract, tax."""
    return [
        Control(
            row["account"],
            Money(int(row["sub_ledger_minor"]), row["currency"]),
            Money(int(row["control_minor"]), row["currency"]),
        )
        for row in rows(conn, "control_accounts", {"tenant": tenant})
    ]


def find_problems(conn: Connection, tenant: str) -> list[str]:
    """One sentence for each account that its items do not sum to."""
    return [
        f"account {one.account}: its items sum to {one.sub_ledger}, the journal has {one.control}"
        for one in compare(conn, tenant)
        if one.difference
    ]

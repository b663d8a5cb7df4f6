"""Receivables by how long they have been due, for each payer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg

from billing.money import Money
from billing.period import local_midnight
from billing.queries import rows

Connection = psycopg.Connection[Any]
BUCKETS = ("not due", "1-30", "31-60", "61-90", "over 90")
"""Days after the due day, which is still in time. A statement that was credited after it was paid counts negative."""
_ENDS = (0, 30, 60, 90)


@dataclass(frozen=True)
class OpenStatement:
    """account: `receivable:<payer>`. days_late: whole days after the due day; 0 or less: not due."""

    account: str
    number: str
    due_on: date
    days_late: int
    open_amount: Money


@dataclass(frozen=True)
class AgeingLine:
    """One payer in one currency. amounts: in the order of `BUCKETS`."""

    account: str
    amounts: tuple[Money, ...]

    @property
    def total(self) -> Money:
        return sum(self.amounts, Money.zero(self.amounts[0].currency))


def open_statements(conn: Connection, tenant: str, day: date, time_zone: str) -> list[OpenStatement]:
    """What every statement still asks at the end of `day`, a local day of the books."""
    until = local_midnight(day + timedelta(days=1), time_zone)
    return [
        OpenStatement(
            row["account"],
            row["number"],
            row["due_on"],
            (day - row["due_on"]).days,
            Money(int(row["open_minor"]), row["currency"]),
        )
        for row in rows(conn, "receivable_ageing", {"tenant": tenant, "until": until})
    ]


def age(found: Sequence[OpenStatement]) -> list[AgeingLine]:
    """Sums by payer, currency and bucket; a payer's total is the balance of its account."""
    sums: dict[tuple[str, str], list[Money]] = {}
    for one in found:
        currency = one.open_amount.currency
        amounts = sums.setdefault((one.account, currency), [Money.zero(currency)] * len(BUCKETS))
        bucket = sum(one.days_late > end for end in _ENDS)
        amounts[bucket] += one.open_amount
    return [AgeingLine(account, tuple(amounts)) for (account, _), amounts in sorted(sums.items())]

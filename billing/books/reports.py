"""Reports of the books: sums over postings at an instant or between two, exact. `until` is exclusive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from billing.books.ledger import DEFERRED_REVENUE, PREPAID, TAX_PAYABLE
from billing.money import Money
from billing.queries import Row, rows

Connection = psycopg.Connection[Any]
MOVEMENTS_MAX = 100_000
_BATCH = 5_000


@dataclass(frozen=True)
class AccountTotal:
    """Everything booked on an account so far. debit, credit: turnover, both positive."""

    account: str
    debit: Money
    credit: Money

    @property
    def balance(self) -> Money:
        """Positive: a debit balance."""
        return self.debit - self.credit


def trial_balance(conn: Connection, tenant: str, until: datetime) -> list[AccountTotal]:
    """Every account by name; in each currency debits and credits sum to the same."""
    found = rows(conn, "trial_balance", {"tenant": tenant, "until": until})
    return [
        AccountTotal(row["account"], _money(row, "debit_minor"), _money(row, "credit_minor")) for row in found
    ]


@dataclass(frozen=True)
class Movement:
    """One posting. balance: of the whole account asked for, after it, in the posting's currency."""

    account: str
    amount: Money
    balance: Money
    entry_sequence: int
    template: str
    reference: str
    effective_at: datetime


@dataclass(frozen=True)
class AccountStatement:
    """An account from one instant to another. opening, closing: by currency."""

    account: str
    opening: Mapping[str, Money]
    movements: tuple[Movement, ...]
    closing: Mapping[str, Money]


def account_statement(
    conn: Connection, tenant: str, account: str, since: datetime, until: datetime
) -> AccountStatement:
    """account: `receivable:city-hospital`, or `receivable` for all of them. At most `MOVEMENTS_MAX` movements."""
    values = {"tenant": tenant, "account": account, "since": since, "until": until, "limit": MOVEMENTS_MAX}
    opening = _balances(conn, {**values, "until": since})
    running = dict(opening)
    movements = []
    for row in rows(conn, "account_movements", values):
        amount = _money(row, "amount_minor")
        running[amount.currency] = running.get(amount.currency, Money.zero(amount.currency)) + amount
        movements.append(
            Movement(
                row["account"],
                amount,
                running[amount.currency],
                row["sequence"],
                row["template"],
                row["reference"],
                row["effective_at"].astimezone(UTC),
            )
        )
    return AccountStatement(account, opening, tuple(movements), _balances(conn, values))


@dataclass(frozen=True)
class RollForward:
    """How an account came from its opening to its closing balance. by_template: what moved it.

    Signs as in the journal: a liability's balance is negative. opening + everything moved = closing.
    """

    account: str
    opening: Money
    by_template: Mapping[str, Money]
    closing: Money


def roll_forward(
    conn: Connection, tenant: str, account: str, since: datetime, until: datetime
) -> list[RollForward]:
    """account: the part before the colon; one result for each full account and currency."""
    values = {"tenant": tenant, "account": account, "since": since, "until": until}
    opening: dict[tuple[str, str], int] = defaultdict(int)
    moved: dict[tuple[str, str], dict[str, Money]] = defaultdict(dict)
    for row in rows(conn, "movements_by_template", values):
        key = (row["account"], row["currency"])
        opening[key] += int(row["amount_minor"]) if row["is_before"] else 0
        if not row["is_before"]:
            moved[key][row["template"]] = _money(row, "amount_minor")
    return [_rolled(key, opening[key], moved[key]) for key in sorted({*opening, *moved})]


def deferred_revenue(conn: Connection, tenant: str, since: datetime, until: datetime) -> list[RollForward]:
    """Opening + added (`statement_issued`) − credited − recognised (`revenue_recognised`) = closing."""
    return roll_forward(conn, tenant, DEFERRED_REVENUE, since, until)


def prepaid(conn: Connection, tenant: str, since: datetime, until: datetime) -> list[RollForward]:
    """Opening + bought (`statement_issued`) − credited − used − expired = closing."""
    return roll_forward(conn, tenant, PREPAID, since, until)


def tax_summary(conn: Connection, tenant: str, since: datetime, until: datetime) -> list[RollForward]:
    """Tax owed by each tax's name: opening + charged − credited − written off = closing."""
    return roll_forward(conn, tenant, TAX_PAYABLE, since, until)


@dataclass(frozen=True)
class JournalLine:
    """One posting with its entry, for exports. position: from 1 within the entry."""

    sequence: int
    effective_at: datetime
    booked_at: datetime
    template: str
    reference: str
    position: int
    account: str
    amount: Money


def journal(conn: Connection, tenant: str, until: datetime) -> Iterator[JournalLine]:
    """Every posting in the order of booking, read in pages."""
    after = {"sequence": 0, "position": 0}
    while page := rows(conn, "journal_lines", {"tenant": tenant, "until": until, "limit": _BATCH, **after}):
        for row in page:
            yield JournalLine(
                row["sequence"],
                row["effective_at"].astimezone(UTC),
                row["booked_at"].astimezone(UTC),
                row["template"],
                row["reference"],
                row["position"],
                row["account"],
                _money(row, "amount_minor"),
            )
        after = {"sequence": page[-1]["sequence"], "position": page[-1]["position"]}


def _rolled(key: tuple[str, str], opening_minor: int, moved: Mapping[str, Money]) -> RollForward:
    account, currency = key
    opening = Money(opening_minor, currency)
    return RollForward(account, opening, dict(moved), sum(moved.values(), opening))


def _balances(conn: Connection, values: Mapping[str, object]) -> dict[str, Money]:
    return {row["currency"]: _money(row, "balance_minor") for row in rows(conn, "account_balances", values)}


def _money(row: Row, column: str) -> Money:
    return Money(int(row[column]), row["currency"])

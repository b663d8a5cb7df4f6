"""Deferred revenue: a fee that is billed ahead becomes revenue day by day, exactly.

What is revenue after `d` of `n` days is round(amount × d / n), so the last day takes the rest, however often and
whenever it was recognised before. A credit lowers the amount: what had been earned of it is taken back from revenue,
the rest from what is deferred.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.books import accounting, ledger
from billing.books.books_errors import NotEarnedYet
from billing.books.ledger import DEFERRED_REVENUE, REVENUE, Posting
from billing.cash.payment_record import lock
from billing.claims.credit_note_record import CreditNote
from billing.money import Money, allocate, round_half_away_from_zero
from billing.period import local_midnight
from billing.queries import Row, execute_many, one_row, rows
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]


def shares(statement: Statement, other: Money) -> dict[int, Money]:
    """How much of each line is deferred when the statement is issued, by line number.

    other: what of the subtotal is no revenue for another reason. Corrections below zero are revenue at once; where
    they leave less than was to be deferred, that is shared out.
    """
    ahead = [line for line in statement.lines if _is_ahead(line, statement)]
    most = (statement.subtotal - other).amount_minor
    wanted = [line.rated.amount.amount_minor for line in ahead]
    total = max(0, min(sum(wanted), most))
    amounts = allocate(total, [Fraction(one) for one in wanted], [f"{line.number:09d}" for line in ahead])
    pairs = zip(ahead, amounts, strict=True)
    return {line.number: Money(amount, statement.currency) for line, amount in pairs if amount}


def _is_ahead(line: StatementLine, statement: Statement) -> bool:
    until = line.rated.recognise_until
    return until is not None and until > statement.period.ends_on and line.rated.amount.amount_minor > 0


def statement_issued(
    conn: Connection, statement: Statement, deferred: dict[int, Money], *, effective_at: datetime
) -> None:
    """Store what was deferred, and recognise what the contract has earned by the end of the statement's period.

    In the transaction that issues, after the statement was booked. effective_at: of its journal entry.
    """
    key = {"tenant": statement.tenant, "statement_id": statement.statement_id}
    rated = {line.number: line.rated for line in statement.lines}
    values = (
        {
            **key,
            "line_number": number,
            "contract_id": statement.contract_id,
            "account": f"{DEFERRED_REVENUE}:{statement.contract_name}",
            "currency": statement.currency,
            "recognise_from": rated[number].recognise_from or statement.period.starts_on,
            "recognise_until": rated[number].recognise_until,
            "amount_minor": amount.amount_minor,
        }
        for number, amount in deferred.items()
    )
    execute_many(conn, "insert_deferral", values)
    booked_at = statement.issued_at or effective_at
    today = booked_at.astimezone(ZoneInfo(statement.period.time_zone)).date()
    until = min(statement.period.ends_on, today)  # a period that is billed early has not earned its end
    found = _open(conn, statement.tenant, until, statement.contract_id)
    _recognise(conn, statement.tenant, found, until, effective_at, booked_at)


def recognise(conn: Connection, tenant: str, until: date, *, now: datetime) -> list[Money]:
    """Book what the days before `until` have earned and what was not booked yet; one amount for each contract.

    until: local day of the books. The same again books nothing. Raises `NotEarnedYet`.
    """
    lock(conn, tenant)
    end = local_midnight(until, accounting.zone_of(conn, tenant))
    if now < end:
        raise NotEarnedYet(f"{until} has not begun: only days that are over earn revenue")
    effective_at = accounting.posting_time(conn, tenant, end - timedelta(microseconds=1))
    found = _open(conn, tenant, until)
    return _recognise(conn, tenant, found, until, effective_at, now)


def unrecognised(conn: Connection, tenant: str, until: date) -> dict[str, Money]:
    """What `recognise` would book, by account."""
    sums: dict[str, Money] = {}
    for row in _open(conn, tenant, until):
        due = Money(_due(row, until), row["currency"])
        if due:
            sums[row["account"]] = sums.get(row["account"], Money.zero(row["currency"])) + due
    return sums


def credited(conn: Connection, note: CreditNote) -> Money:
    """How much of a credit note comes from what is still deferred; stores it.

    In the transaction that issues the note, after its lines were stored. Of a line that was deferred in part, the
    same part of the credit is meant.
    """
    lock(conn, note.tenant)
    by_number = {line.number: line for line in note.lines}
    day = note.issued_at.astimezone(ZoneInfo(note.time_zone)).date()
    movements: list[dict[str, Any]] = []
    for row in rows(
        conn, "deferrals_of_statement", {"tenant": note.tenant, "statement_id": note.statement_id}
    ):
        line = by_number.get(row["line_number"])
        if line is None:
            continue
        reached = Fraction(int(row["line_credited_minor"]), row["line_minor"])
        amount = round_half_away_from_zero(row["amount_minor"] * reached) - row["credited_minor"]
        if amount <= 0:
            continue
        earned = _earned(row, day, row["amount_minor"] - row["credited_minor"] - amount)
        revenue = max(0, row["earned_minor"] - earned)
        movements.append(_movement(row, "credited", amount, revenue, day, note.number, note.issued_at))
    total = sum(one["amount_minor"] - one["revenue_minor"] for one in movements)
    for one in movements:
        # Lines below zero in the same note can leave less than that: the rest is taken from revenue.
        more = min(max(0, total - note.subtotal.amount_minor), one["amount_minor"] - one["revenue_minor"])
        one["revenue_minor"] += more
        total -= more
    execute_many(conn, "insert_deferral_movement", movements)
    return Money(total, note.currency)


def _open(conn: Connection, tenant: str, until: date, contract_id: int | None = None) -> list[Row]:
    """Deferrals of one contract, or of all, that had begun before `until`, by account."""
    return rows(conn, "open_deferrals", {"tenant": tenant, "until": until, "contract_id": contract_id})


def _recognise(
    conn: Connection,
    tenant: str,
    found: Iterable[Row],
    until: date,
    effective_at: datetime,
    booked_at: datetime,
) -> list[Money]:
    booked = []
    for (account, currency), group in groupby(found, key=lambda row: (row["account"], row["currency"])):
        due = [(row, amount) for row in group if (amount := _due(row, until))]
        if not due:
            continue
        total = Money(sum(amount for _, amount in due), currency)
        number = one_row(conn, "deferral_movement_count", {"tenant": tenant})["count"]
        key = f"recognised:{account}:{until}:{number}"
        ledger.post(
            conn,
            tenant,
            template="revenue_recognised",
            idempotency_key=key,
            reference=f"until {until}",
            postings=[Posting(account, total), Posting(REVENUE, -total)],
            effective_at=effective_at,
            booked_at=booked_at,
        )
        execute_many(
            conn,
            "insert_deferral_movement",
            [_movement(row, "recognised", amount, amount, until, key, effective_at) for row, amount in due],
        )
        booked.append(total)
    return booked


def _due(row: Row, until: date) -> int:
    earned = _earned(row, until, row["amount_minor"] - row["credited_minor"])
    return max(0, earned - int(row["earned_minor"]))


def _earned(row: Row, until: date, amount_minor: int) -> int:
    """What of `amount_minor` the days before `until` earn."""
    days = (row["recognise_until"] - row["recognise_from"]).days
    passed = min(max((until - row["recognise_from"]).days, 0), days)
    return round_half_away_from_zero(Fraction(amount_minor * passed, days))


def _movement(
    row: Row,
    kind: str,
    amount_minor: int,
    revenue_minor: int,
    until: date,
    reference: str,
    moved_at: datetime,
) -> dict[str, Any]:
    return {
        "tenant": row["tenant"],
        "statement_id": row["statement_id"],
        "line_number": row["line_number"],
        "kind": kind,
        "amount_minor": amount_minor,
        "revenue_minor": revenue_minor,
        "until": until,
        "reference": reference,
        "moved_at": moved_at,
    }

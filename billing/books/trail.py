"""Trail: from a line of a statement to the cases behind it, and on to who gets its money."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.claims import credit_notes
from billing.contracts import store
from billing.contracts.rate_terms import Rate, takers
from billing.contracts.store import RecordedUsage
from billing.errors import StatementNotFound, UsageEventNotFound
from billing.metering.decide import Outcome
from billing.money import Money
from billing.period import local_midnight
from billing.queries import rows
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]
_BATCH = 500


@dataclass(frozen=True)
class LineShare:
    """What one payee gets of a line. amount: as allocated at issue. reversed: taken back by credit notes.

    payable: what became due to the payee so far; for the seller's own part, nothing is.
    """

    split: str
    basis: str
    party_id: str
    party_name: str
    is_own: bool
    amount: Money
    reversed: Money
    payable: Money


@dataclass(frozen=True)
class LineTrail:
    """A line of an issued statement and what is behind it. credited: without tax, by all credit notes so far.

    cases: a page of them by the order of recording; `next_after` is where the next page begins, None at the end.
    """

    statement: Statement
    line: StatementLine
    credited: Money
    shares: tuple[LineShare, ...]
    cases: tuple[RecordedUsage, ...]
    next_after: int | None


@dataclass(frozen=True)
class DecisionStep:
    """One decision about an event. revision: from 1; the last one holds. decided_by: a policy or a person."""

    revision: int
    outcome: Outcome
    reason_code: str
    policy: str
    decided_by: str
    decided_at: datetime


@dataclass(frozen=True)
class CaseTrail:
    """A usage event, every decision about it, and the line that charged it, if one did."""

    usage: RecordedUsage
    decisions: tuple[DecisionStep, ...]
    statement: Statement | None
    line: StatementLine | None


def line_trail(
    conn: Connection, tenant: str, statement_id: int, line_number: int, *, after: int = 0, limit: int = 100
) -> LineTrail:
    """Raises `StatementNotFound` where there is no such line."""
    statement = store.get_statement(conn, tenant, statement_id)
    if not 1 <= line_number <= len(statement.lines):
        raise StatementNotFound(f"statement {statement_id} has no line {line_number}")
    line = statement.lines[line_number - 1]
    credited = credit_notes.credited_so_far(conn, statement).get(line_number)
    cases = _cases(conn, statement, line, after, limit + 1)
    return LineTrail(
        statement=statement,
        line=line,
        credited=Money(credited.credited_amount if credited else 0, statement.currency),
        shares=_shares(conn, statement, line),
        cases=tuple(cases[:limit]),
        next_after=cases[limit - 1].ingest_sequence if len(cases) > limit else None,
    )


def case_trail(conn: Connection, tenant: str, ingest_sequence: int) -> CaseTrail:
    """Raises `UsageEventNotFound`."""
    values = {"tenant": tenant, "ingest_sequence": ingest_sequence}
    found = rows(conn, "usage_by_sequence", values)
    if not found:
        raise UsageEventNotFound(f"no usage event {ingest_sequence}")
    usage = store.recorded(found[0])
    statement = None if usage.statement_id is None else store.get_statement(conn, tenant, usage.statement_id)
    decisions = tuple(
        DecisionStep(**{**row, "outcome": Outcome(row["outcome"])})
        for row in rows(conn, "decisions_of_event", values)
    )
    return CaseTrail(usage, decisions, statement, _line_of(conn, statement, usage))


def _cases(
    conn: Connection, statement: Statement, line: StatementLine, after: int, limit: int
) -> list[RecordedUsage]:
    """Those of the statement's events that the line's rate takes; which one does, the contract alone can tell."""
    rates = _rates(conn, statement, line)
    own = next((rate for rate in rates if rate.id == _rate_id(line)), None)
    if own is None:
        return []
    values = {
        "tenant": statement.tenant,
        "statement_id": statement.statement_id,
        "service_start": line.rated.service_start,
        "product": own.product,
        "meter": own.meter,
        "limit": _BATCH,
    }
    candidates = takers(rates, own.product, own.meter)
    found: list[RecordedUsage] = []
    while len(found) < limit:
        batch = [store.recorded(row) for row in rows(conn, "cases_of_line", {**values, "after": after})]
        found += [one for one in batch if _taker(candidates, one) is own]
        if len(batch) < _BATCH:
            break
        after = batch[-1].ingest_sequence
    return found[:limit]


def _rates(conn: Connection, statement: Statement, line: StatementLine) -> tuple[Rate, ...]:
    """Of the version that the service period was rated by, those in force then."""
    day = line.rated.service_start
    version = store.contract_at(
        conn, statement.tenant, statement.contract_id, local_midnight(day, statement.period.time_zone)
    )
    return tuple(rate for rate in version.contract.rates if rate.is_in_force(day))


def _rate_id(line: StatementLine) -> str:
    return line.rated.key.split("/")[0]


def _taker(candidates: tuple[Rate, ...], usage: RecordedUsage) -> Rate | None:
    return next((rate for rate in candidates if rate.matches(usage.event.dimensions)), None)


def _line_of(conn: Connection, statement: Statement | None, usage: RecordedUsage) -> StatementLine | None:
    """The first line of the rate that took the event; tiers of one rate share its events."""
    if statement is None:
        return None
    for line in statement.lines:
        if line.rated.product != usage.event.product:
            continue
        rates = _rates(conn, statement, line)
        taker = _taker(takers(rates, usage.event.product, usage.event.meter), usage)
        if taker is not None and taker.id == _rate_id(line):
            return line
    return None


def _shares(conn: Connection, statement: Statement, line: StatementLine) -> tuple[LineShare, ...]:
    values = {
        "tenant": statement.tenant,
        "statement_id": statement.statement_id,
        "line_number": line.number,
    }
    return tuple(
        LineShare(
            split=row["split"],
            basis=row["basis"],
            party_id=row["party_id"],
            party_name=row["legal_name"],
            is_own=row["is_own"],
            amount=Money(row["amount_minor"], statement.currency),
            reversed=Money(row["reversed_minor"], statement.currency),
            payable=Money(row["payable_minor"], statement.currency),
        )
        for row in rows(conn, "shares_of_line", values)
    )

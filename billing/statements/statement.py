"""Statement: preview it at any time, issue it once; both take the same path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing import rails
from billing.books import accounting, deferred, ledger
from billing.contracts import store
from billing.contracts.store import StoredContract
from billing.errors import (
    AccountParked,
    NothingToState,
    OutOfBounds,
    PeriodNotEnded,
    PeriodOutsideContract,
    QuarantineNotEmpty,
)
from billing.guarding import safety, wallet_books
from billing.lock import lock_for_cutoff
from billing.money import Money
from billing.period import Period, periods_between
from billing.queries import execute, one_row, rows
from billing.rating import aggregate
from billing.splits import accrual
from billing.statements import issue_store
from billing.statements.compose import compose
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]


def draft(conn: Connection, tenant: str, contract_id: int, at: datetime | Period) -> Statement:
    """The statement of the period that is or holds `at`: the issued one, else as it would be issued now.

    Of a contract with several payers, the first payer's; `drafts` has all.
    Raises `ContractNotFound`, `PeriodOutsideContract`.
    """
    return drafts(conn, tenant, contract_id, at)[0]


def drafts(conn: Connection, tenant: str, contract_id: int, at: datetime | Period) -> tuple[Statement, ...]:
    """The statement of each payer, as `draft`."""
    contract, period = _resolve(conn, tenant, contract_id, at)
    issued = store.find_statements(conn, tenant, contract_id, period)
    return issued or compose(conn, tenant, contract, period, aggregate.last_decision(conn, tenant)).statements


def issue(
    conn: Connection,
    tenant: str,
    contract_id: int,
    at: datetime | Period,
    *,
    now: datetime | None = None,
    close_early: bool = False,
    nil: bool = False,
) -> Statement:
    """Issue the statement of a period, of several payers' the first's; see `issue_all`."""
    return issue_all(conn, tenant, contract_id, at, now=now, close_early=close_early, nil=nil)[0]


def issue_all(
    conn: Connection,
    tenant: str,
    contract_id: int,
    at: datetime | Period,
    *,
    now: datetime | None = None,
    close_early: bool = False,
    nil: bool = False,
) -> tuple[Statement, ...]:
    """Issue each payer's statement of a period: number, lines, evidence and journal entry in one transaction.

    The same contract and period again returns the statements that exist. close_early: bill a period that
    has not ended; its later usage comes as a correction on the next statement. nil: a period without a line gets a
    statement of zero.
    Raises `PeriodNotEnded`, `NothingToState`, `QuarantineNotEmpty`, `AccountParked`, `OutOfBounds` and what
    `draft` raises.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    lock_for_cutoff(conn, tenant)
    contract, period = _resolve(conn, tenant, contract_id, at)
    issued = store.find_statements(conn, tenant, contract_id, period)
    if issued:
        return issued
    safety.require_not_parked(conn, tenant, contract_id)
    if now < period.end_at and not close_early:
        raise PeriodNotEnded(
            f"the period ends on {period.ends_on}, midnight in {period.time_zone}: issue it then, or close it early"
        )
    composed = compose(conn, tenant, contract, period, aggregate.last_decision(conn, tenant))
    for statement in composed.statements:
        if statement.quarantined_count:
            raise QuarantineNotEmpty(statement.quarantined_count)
    if not nil and not any(statement.lines for statement in composed.statements):
        raise NothingToState(f"{period.starts_on} to {period.ends_on}")
    safety.require_within(conn, contract.contract, composed.statements)
    issue_store.close_period(conn, composed.statements[0], now)
    issued = tuple(
        _store_issued(conn, _number(conn, statement, contract, now), is_first=number == 0)
        for number, statement in enumerate(composed.statements)
    )
    issue_store.store_shared_lines(conn, issued, composed.lines)
    wallet_books.period_issued(conn, issued[0], effective_at=_effective_at(conn, issued[0]))
    return issued


def issue_or_park(
    conn: Connection,
    tenant: str,
    contract_id: int,
    at: datetime | Period,
    *,
    now: datetime,
    close_early: bool = False,
    nil: bool = False,
) -> tuple[Statement, ...] | AccountParked:
    """As `issue_all`; where a bound is broken, the account is parked instead, and the caller commits that.

    An account that is parked already is told the same way.
    """
    try:
        with conn.transaction():
            return issue_all(conn, tenant, contract_id, at, now=now, close_early=close_early, nil=nil)
    except AccountParked as found:
        return found
    except OutOfBounds as found:
        _, period = _resolve(conn, tenant, contract_id, at)
        safety.park(conn, tenant, contract_id, period.starts_on, found, now=now)
        return AccountParked(f"the account is parked until a person has looked: {found}")


def unissued_periods(conn: Connection, tenant: str, contract_id: int, now: datetime) -> list[Period]:
    """Ended periods of a contract that have no statement yet, in order."""
    stored = store.contract_at(conn, tenant, contract_id, now)
    terms = stored.contract
    begin = datetime.min.replace(tzinfo=UTC)
    grid = periods_between(begin, now, terms.time_zone, terms.anchor_day, stored.first_day)
    values = {"tenant": tenant, "contract_id": contract_id}
    billed = {row["starts_on"] for row in rows(conn, "billed_periods", values)}
    return [period for period in grid if period.end_at <= now and period.starts_on not in billed]


def _resolve(
    conn: Connection, tenant: str, contract_id: int, at: datetime | Period
) -> tuple[StoredContract, Period]:
    """The period, and the version in force in it: versions begin with periods, so there is one."""
    instant = at.start_at if isinstance(at, Period) else at
    contract = store.contract_at(conn, tenant, contract_id, instant)
    period = contract.period_of(instant)
    if period is None or (isinstance(at, Period) and at != period):
        raise PeriodOutsideContract(f"contract {contract_id} has no such period")
    return contract, period


def _number(conn: Connection, statement: Statement, contract: StoredContract, now: datetime) -> Statement:
    """The next number of the seller; the row stays locked, so a rollback gives the number back."""
    values = {"tenant": statement.tenant, "seller_id": statement.seller.id}
    execute(conn, "insert_counter", values)
    sequence_number = one_row(conn, "next_number", values)["last_number"]
    # The tenant is part of the number: two tenants may hold a contract with the same seller.
    number = f"{statement.seller.number_prefix}-{statement.tenant.upper()}-{sequence_number:06d}"
    local_day = now.astimezone(ZoneInfo(statement.period.time_zone)).date()
    return statement.evolve(
        statement_id=one_row(conn, "next_statement_id", {})["statement_id"],
        number=number,
        issued_at=now,
        due_on=local_day + timedelta(days=contract.contract.payment_terms_days),
        is_closed_early=now < statement.period.end_at,
    )


def _store_issued(conn: Connection, statement: Statement, *, is_first: bool) -> Statement:
    """is_first: of the payers' statements of a period, the one that holds its events."""
    assert statement.number is not None
    assert statement.issued_at is not None
    issue_store.store_lines(conn, statement)
    if is_first:
        issue_store.store_events(conn, statement)
    issue_store.store_header(conn, statement)
    effective_at = _effective_at(conn, statement)
    prepaid = wallet_books.prepaid_amount(conn, statement)
    ahead = deferred.shares(statement, prepaid)
    postings = ledger.entry_of_statement(
        statement, prepaid, sum(ahead.values(), Money.zero(statement.currency))
    )
    if postings:
        ledger.post(
            conn,
            statement.tenant,
            template="statement_issued",
            idempotency_key=f"statement:{statement.number}",
            reference=statement.number,
            postings=postings,
            effective_at=effective_at,
            booked_at=statement.issued_at,
        )
    deferred.statement_issued(conn, statement, ahead, effective_at=effective_at)
    wallet_books.statement_issued(conn, statement, effective_at=effective_at)
    accrual.accrue(conn, statement, effective_at=effective_at, now=statement.issued_at)
    rails.statement_issued(conn, statement, now=statement.issued_at)
    return statement


def _effective_at(conn: Connection, statement: Statement) -> datetime:
    """The last instant of the service period, so that revenue counts in the month that earned it.

    Where the books are closed by then, it is the next open month; a period that still runs counts now.
    """
    assert statement.issued_at is not None
    last_instant = statement.period.end_at - timedelta(microseconds=1)
    return accounting.posting_time(conn, statement.tenant, min(statement.issued_at, last_instant))

"""Statement: preview it at any time, issue it once; both take the same path."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing import accounting, aggregate, ledger, statement_record, store, wallet_books
from billing.compose import compose
from billing.errors import PeriodNotEnded, PeriodOutsideContract, QuarantineNotEmpty, StatementIsNegative
from billing.lock import lock_for_cutoff
from billing.period import Period, periods_between
from billing.queries import execute, execute_many, one_row, rows
from billing.rate import RATING_VERSION
from billing.splits import accrual
from billing.statement_record import Statement, StatementLine
from billing.store import StoredContract

Connection = psycopg.Connection[Any]


def draft(conn: Connection, tenant: str, contract_id: int, at: datetime | Period) -> Statement:
    """The statement of the period that is or holds `at`: the issued one, else as it would be issued now.

    Raises `ContractNotFound`, `PeriodOutsideContract`.
    """
    contract, period = _resolve(conn, tenant, contract_id, at)
    issued = store.find_statement(conn, tenant, contract_id, period)
    return issued or compose(conn, tenant, contract, period, aggregate.last_decision(conn, tenant))


def issue(
    conn: Connection,
    tenant: str,
    contract_id: int,
    at: datetime | Period,
    *,
    now: datetime | None = None,
    close_early: bool = False,
) -> Statement:
    """Issue the statement of a period: number, lines, evidence and journal entry in one transaction.

    The same contract and period again returns the statement that exists. close_early: bill a period that
    has not ended; its later usage comes as a correction on the next statement.
    Raises `PeriodNotEnded`, `QuarantineNotEmpty`, `StatementIsNegative` and what `draft` raises.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    lock_for_cutoff(conn, tenant)
    contract, period = _resolve(conn, tenant, contract_id, at)
    issued = store.find_statement(conn, tenant, contract_id, period)
    if issued is not None:
        return issued
    if now < period.end_at and not close_early:
        raise PeriodNotEnded(f"the period ends on {period.ends_on}, midnight in {period.time_zone}")
    statement = compose(conn, tenant, contract, period, aggregate.last_decision(conn, tenant))
    if statement.quarantined_count:
        raise QuarantineNotEmpty(statement.quarantined_count)
    if statement.total.amount_minor < 0:
        raise StatementIsNegative(f"the statement would total {statement.total} {statement.currency}")
    return _store_issued(conn, _number(conn, statement, contract, now))


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


def _store_issued(conn: Connection, statement: Statement) -> Statement:
    assert statement.number is not None
    assert statement.issued_at is not None
    text = statement_record.to_text(statement)
    key = {"tenant": statement.tenant, "statement_id": statement.statement_id}
    period = store.period_values(
        statement.tenant, statement.contract_id, statement.period, statement.cutoff_sequence
    )
    execute(
        conn,
        "insert_period",
        {
            **period,
            "ends_on": statement.period.ends_on,
            "full_days": statement.period.full_days,
            "closed_at": statement.issued_at,
        },
    )
    execute_many(conn, "insert_line", [{**key, **_line_columns(line)} for line in statement.lines])
    execute(conn, "insert_events", {**period, **key})
    execute(conn, "insert_late_events", {**period, **key})
    execute(conn, "insert_voids", {**period, **key})
    execute(
        conn,
        "insert_statement",
        {
            **key,
            **_header_columns(statement),
            "document": text,
            "document_sha256": statement_record.digest(text),
        },
    )
    effective_at = _effective_at(conn, statement)
    postings = ledger.entry_of_statement(statement, wallet_books.prepaid_amount(conn, statement))
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
    wallet_books.statement_issued(conn, statement, effective_at=effective_at)
    accrual.accrue(conn, statement, effective_at=effective_at, now=statement.issued_at)
    return statement


def _effective_at(conn: Connection, statement: Statement) -> datetime:
    """The last instant of the service period, so that revenue counts in the month that earned it.

    Where the books are closed by then, it is the next open month; a period that still runs counts now.
    """
    assert statement.issued_at is not None
    last_instant = statement.period.end_at - timedelta(microseconds=1)
    return accounting.posting_time(conn, statement.tenant, min(statement.issued_at, last_instant))


def _header_columns(statement: Statement) -> dict[str, object]:
    assert statement.number is not None
    return {
        "seller_id": statement.seller.id,
        "sequence_number": int(statement.number.rsplit("-", 1)[1]),
        "number": statement.number,
        "contract_id": statement.contract_id,
        "contract_version": statement.contract_version,
        "period_start": statement.period.starts_on,
        "currency": statement.currency,
        "line_count": len(statement.lines),
        "subtotal_minor": statement.subtotal.amount_minor,
        "tax_minor": statement.tax.amount_minor,
        "total_minor": statement.total.amount_minor,
        "cutoff_sequence": statement.cutoff_sequence,
        "inputs_digest": statement.inputs_digest,
        "output_digest": statement.output_digest,
        "rating_version": RATING_VERSION,
        "issued_at": statement.issued_at,
        "due_on": statement.due_on,
    }


def _line_columns(line: StatementLine) -> dict[str, object]:
    rated = line.rated
    return {
        "line_number": line.number,
        "line_key": rated.key,
        "kind": rated.kind,
        "product": rated.product,
        "service_start": rated.service_start,
        "service_end": rated.service_end,
        "quantity": rated.quantity,
        "exact_amount": str(rated.exact),
        "amount_minor": rated.amount.amount_minor,
        "tax_minor": line.tax.amount_minor,
    }

"""Dunning: reminders of overdue statements, by the contract's terms, each level once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from billing.cash.payments import open_amount
from billing.claims import credit_notes, reminder_record
from billing.claims.disputes import disputed_amount
from billing.claims.reminder_record import Reminder
from billing.contracts import store
from billing.contracts.document_terms import ReminderTerm
from billing.queries import Row, execute, rows
from billing.statements import statement_record
from billing.statements.document_errors import DunningDayAhead, ReminderNotFound

Connection = psycopg.Connection[Any]


def run(conn: Connection, tenant: str, as_of: date, *, now: datetime) -> list[Reminder]:
    """Write the reminders that are due on `as_of`; the same day again writes nothing more.

    A statement gets the strongest level that is due and was not written yet, on what of it is open and not in
    dispute; where nothing is, it gets none. Raises `DunningDayAhead`.
    """
    if as_of > (now.astimezone(UTC) + timedelta(hours=14)).date():  # the day begins first at UTC+14
        raise DunningDayAhead(f"{as_of} has not begun; reminders speak of today or earlier")
    written = []
    for row in rows(conn, "overdue_statements", {"tenant": tenant, "as_of": as_of}):
        reminder = _due(conn, tenant, row, as_of, now)
        if reminder is not None:
            _store(conn, reminder)
            written.append(reminder)
    return written


def list_reminders(conn: Connection, tenant: str, statement_id: int | None = None) -> list[Reminder]:
    """All of a tenant or of one statement, first written first."""
    found = rows(conn, "reminders", {"tenant": tenant, "statement_id": statement_id})
    return [reminder_record.from_text(row["document"], row["statement_id"]) for row in found]


def get_reminder(conn: Connection, tenant: str, statement_id: int, level: int) -> Reminder:
    """Raises `ReminderNotFound`."""
    for reminder in list_reminders(conn, tenant, statement_id):
        if reminder.level == level:
            return reminder
    raise ReminderNotFound(f"statement {statement_id} has no reminder {level}")


def _due(conn: Connection, tenant: str, row: Row, as_of: date, now: datetime) -> Reminder | None:
    statement = store.get_statement(conn, tenant, row["statement_id"])
    assert statement.due_on is not None
    assert statement.number is not None
    contract = store.contract_at(conn, tenant, statement.contract_id, statement.period.start_at).contract
    term = _strongest(contract.documents.reminders, (as_of - statement.due_on).days)
    if term is None:
        return None
    # Read again under the lock: two runs at once write a level once, and no credit comes in between.
    credit_notes.lock(conn, tenant, row["statement_id"])
    if any(one.level >= term.level for one in list_reminders(conn, tenant, row["statement_id"])):
        return None
    reminder = Reminder(
        tenant=tenant,
        statement_id=row["statement_id"],
        statement_number=statement.number,
        level=term.level,
        as_of=as_of,
        due_on=statement.due_on,
        seller=statement.seller,
        payer=statement.payer,
        currency=statement.currency,
        time_zone=statement.period.time_zone,
        total=statement.total,
        still_open=open_amount(conn, tenant, row["statement_id"]),
        disputed=disputed_amount(conn, tenant, row["statement_id"]),
        text=term.text,
        written_at=now,
    )
    return reminder if reminder.payable.amount_minor > 0 else None


def _strongest(terms: Sequence[ReminderTerm], days_overdue: int) -> ReminderTerm | None:
    due = [term for term in terms if term.days_after_due <= days_overdue]
    return due[-1] if due else None


def _store(conn: Connection, reminder: Reminder) -> None:
    text = reminder_record.to_text(reminder)
    values = {
        "tenant": reminder.tenant,
        "statement_id": reminder.statement_id,
        "level": reminder.level,
        "as_of": reminder.as_of,
        "open_minor": reminder.still_open.amount_minor,
        "disputed_minor": reminder.disputed.amount_minor,
        "payable_minor": reminder.payable.amount_minor,
        "document": text,
        "document_sha256": statement_record.digest(text),
        "written_at": reminder.written_at,
    }
    execute(conn, "insert_reminder", values)

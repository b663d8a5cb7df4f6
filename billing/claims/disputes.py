"""Disputes: a buyer does not accept lines of a statement; the rest stays payable until it is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.claims import credit_notes
from billing.claims.credit import Credited, Share
from billing.contracts import store
from billing.money import Money
from billing.queries import Row, execute, execute_many, one_row, rows
from billing.statements.document_errors import (
    DisputeDecided,
    DisputeNotFound,
    DisputeNotPossible,
    DisputeWindowClosed,
)
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
REASON_LENGTH_MAX = 500


@dataclass(frozen=True)
class DisputedLine:
    """number: of the statement's line. amount, tax: what is disputed of it."""

    number: int
    amount: Money
    tax: Money


@dataclass(frozen=True)
class Dispute:
    """state: open, accepted, partial or rejected. credit_note_id: what an accepted or partial one gave back."""

    dispute_id: int
    statement_id: int
    statement_number: str
    state: str
    lines: tuple[DisputedLine, ...]
    reason: str
    opened_by: str
    opened_at: datetime
    decision_reason: str | None
    decided_by: str | None
    decided_at: datetime | None
    credit_note_id: int | None

    @property
    def total(self) -> Money:
        """What is disputed, tax included."""
        zero = Money.zero(self.lines[0].amount.currency)
        return sum((line.amount + line.tax for line in self.lines), zero)


def open_dispute(
    conn: Connection,
    tenant: str,
    statement_id: int,
    lines: Sequence[tuple[int, Share]],
    *,
    reason: str,
    by: str,
    now: datetime,
) -> Dispute:
    """Dispute lines of a statement; shares as in `credit_notes.issue`.

    Raises `StatementNotFound`, `DisputeWindowClosed`, `DisputeNotPossible`, `CreditExceedsLine`.
    """
    statement = store.get_statement(conn, tenant, statement_id)
    last_day = last_day_to_dispute(conn, statement)
    if now.astimezone(ZoneInfo(statement.period.time_zone)).date() > last_day:
        raise DisputeWindowClosed(
            f"{statement.number} could be disputed until {last_day}; the seller can still issue a credit note"
        )
    credit_notes.lock(conn, tenant, statement_id)
    before = credit_notes.credited_so_far(conn, statement)
    _require_charges(conn, statement, before, lines)
    disputed = [_disputed(before[number], share) for number, share in lines]
    key = {
        "tenant": tenant,
        "statement_id": statement_id,
        "dispute_id": one_row(conn, "next_dispute_id", {})["dispute_id"],
    }
    execute_many(conn, "insert_dispute_line", [{**key, **line} for line in disputed])
    header = {"line_count": len(lines), "reason": _reason(reason), "opened_by": by, "opened_at": now}
    execute(conn, "insert_dispute", {**key, **header})
    return get_dispute(conn, tenant, key["dispute_id"])


def accept(
    conn: Connection,
    tenant: str,
    dispute_id: int,
    *,
    reason: str,
    by: str,
    now: datetime,
    lines: Sequence[tuple[int, Share]] | None = None,
    approved_by: str | None = None,
) -> Dispute:
    """Give back what is disputed by a credit note; `lines`: only these shares of it (a partial acceptance).

    Raises `DisputeDecided`, `DisputeNotPossible` and what `credit_notes.issue` raises.
    """
    dispute, left = _to_decide(conn, tenant, dispute_id, by)
    if lines is None:
        parts = [(line.number, min(line.amount.amount_minor, left[line.number])) for line in dispute.lines]
        shares: Sequence[tuple[int, Share]] = [(number, part) for number, part in parts if part > 0]
    else:
        shares = lines
    note = credit_notes.issue(
        conn, tenant, dispute.statement_id, shares, reason=reason, by=by, now=now, approved_by=approved_by
    )
    disputed = {line.number: line.amount.amount_minor for line in dispute.lines}
    if any(line.amount.amount_minor > disputed.get(line.number, 0) for line in note.lines):
        raise DisputeNotPossible("a dispute gives back at most what is disputed; credit the rest by itself")
    is_whole = lines is None or note.subtotal.amount_minor == sum(disputed.values())
    return _decide(
        conn, tenant, dispute, "accepted" if is_whole else "partial", reason, by, now, note.credit_note_id
    )


def reject(conn: Connection, tenant: str, dispute_id: int, *, reason: str, by: str, now: datetime) -> Dispute:
    """The lines stand as they were stated. Raises `DisputeNotFound`, `DisputeDecided`."""
    dispute, _ = _to_decide(conn, tenant, dispute_id, by)
    return _decide(conn, tenant, dispute, "rejected", reason, by, now, None)


def get_dispute(conn: Connection, tenant: str, dispute_id: int) -> Dispute:
    """Raises `DisputeNotFound`."""
    found = _find(conn, tenant, dispute_id=dispute_id)
    if not found:
        raise DisputeNotFound(f"no dispute {dispute_id}")
    return found[0]


def list_disputes(conn: Connection, tenant: str, statement_id: int | None = None) -> list[Dispute]:
    """All of a tenant or of one statement, first opened first."""
    return _find(conn, tenant, statement_id=statement_id)


def studies_in_dispute(conn: Connection, tenant: str) -> list[str]:
    """The studies that statements with an open dispute charge: their evidence is still asked for."""
    return [row["study_ref"] for row in rows(conn, "studies_in_dispute", {"tenant": tenant})]


def disputed_amount(conn: Connection, tenant: str, statement_id: int) -> Money:
    """What of a statement is in open disputes, tax included; all else of it stays payable."""
    currency = store.get_statement(conn, tenant, statement_id).currency
    row = one_row(conn, "disputed_amount", {"tenant": tenant, "statement_id": statement_id})
    return Money(row["amount_minor"], currency)


def last_day_to_dispute(conn: Connection, statement: Statement) -> date:
    """Local day, inclusive."""
    assert statement.issued_at is not None
    stored = store.contract_at(conn, statement.tenant, statement.contract_id, statement.period.start_at)
    issued_on = statement.issued_at.astimezone(ZoneInfo(statement.period.time_zone)).date()
    return issued_on + timedelta(days=stored.contract.documents.dispute_window_days)


def _require_charges(
    conn: Connection, statement: Statement, before: dict[int, Credited], lines: Sequence[tuple[int, Share]]
) -> None:
    numbers = [number for number, _ in lines]
    if not lines or len(set(numbers)) != len(numbers) or not set(numbers) <= before.keys():
        raise DisputeNotPossible(f"name lines of {statement.number} once each; it has {len(before)} line(s)")
    for number in numbers:
        if before[number].amount_minor <= 0:
            raise DisputeNotPossible(f"line {number} of {statement.number} charges nothing")
    values = {"tenant": statement.tenant, "statement_id": statement.statement_id}
    already = {row["line_number"] for row in rows(conn, "openly_disputed_lines", values)} & set(numbers)
    if already:
        raise DisputeNotPossible(f"line {min(already)} of {statement.number} is in an open dispute already")


def _disputed(line: Credited, share: Share) -> dict[str, object]:
    after = line.by(share)
    return {
        "line_number": line.number,
        "amount_minor": after.credited_amount - line.credited_amount,
        "tax_minor": after.credited_tax - line.credited_tax,
    }


def _to_decide(conn: Connection, tenant: str, dispute_id: int, by: str) -> tuple[Dispute, dict[int, int]]:
    """The open dispute, and what is left of the lines of its statement before tax."""
    statement_id = get_dispute(conn, tenant, dispute_id).statement_id
    credit_notes.lock(conn, tenant, statement_id)
    dispute = get_dispute(conn, tenant, dispute_id)
    if dispute.state != "open":
        raise DisputeDecided(f"dispute {dispute_id} was {dispute.state} by {dispute.decided_by}")
    if dispute.opened_by == by:
        raise DisputeDecided(f"{by} opened dispute {dispute_id}; another person decides it")
    lines = credit_notes.credited_so_far(conn, store.get_statement(conn, tenant, statement_id))
    return dispute, {line.number: line.amount_minor - line.credited_amount for line in lines.values()}


def _decide(
    conn: Connection,
    tenant: str,
    dispute: Dispute,
    state: str,
    reason: str,
    by: str,
    now: datetime,
    credit_note_id: int | None,
) -> Dispute:
    values = {
        "tenant": tenant,
        "dispute_id": dispute.dispute_id,
        "state": state,
        "decision_reason": _reason(reason),
        "decided_by": by,
        "decided_at": now,
        "credit_note_id": credit_note_id,
    }
    execute(conn, "decide_dispute", values)
    return get_dispute(conn, tenant, dispute.dispute_id)


def _reason(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= REASON_LENGTH_MAX:
        raise DisputeNotPossible(f"a dispute needs a reason of at most {REASON_LENGTH_MAX} characters")
    return text


def _find(
    conn: Connection, tenant: str, dispute_id: int | None = None, statement_id: int | None = None
) -> list[Dispute]:
    values = {"tenant": tenant, "dispute_id": dispute_id, "statement_id": statement_id, "limit": 1000}
    return [_dispute(row) for row in rows(conn, "disputes", values)]


def _dispute(row: Row) -> Dispute:
    currency = row["currency"]
    lines = tuple(
        DisputedLine(number, Money(amount, currency), Money(tax, currency))
        for number, amount, tax in row["lines"]
    )
    names = ("dispute_id", "statement_id", "statement_number", "state", "reason", "opened_by", "opened_at",
             "decision_reason", "decided_by", "decided_at", "credit_note_id")  # fmt: skip
    return Dispute(lines=lines, **{name: row[name] for name in names})

"""Credits that wait for a second person: one asks, another approves, and only then a credit note is issued."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from billing.claims import credit_notes
from billing.claims.credit import Share
from billing.claims.credit_note_record import CreditNote
from billing.contracts import store
from billing.queries import Row, execute, one_row, rows
from billing.statements.document_errors import (
    ApprovalNeeded,
    CreditNotPossible,
    CreditRequestDecided,
    CreditRequestNotFound,
)

Connection = psycopg.Connection[Any]
Lines = Sequence[tuple[int, Share]] | None


@dataclass(frozen=True)
class CreditRequest:
    """lines: as in `credit_notes.issue`. state: requested, approved or refused."""

    request_id: int
    statement_id: int
    statement_number: str
    lines: Lines
    reason: str
    state: str
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    credit_note_id: int | None


def issue_or_request(
    conn: Connection, tenant: str, statement_id: int, lines: Lines, *, reason: str, by: str, now: datetime
) -> CreditNote | CreditRequest:
    """The credit note; where the contract wants a second person, the request that waits for one.

    Raises what `credit_notes.issue` raises, but `ApprovalNeeded`.
    """
    try:
        with conn.transaction():
            return credit_notes.issue(conn, tenant, statement_id, lines, reason=reason, by=by, now=now)
    except ApprovalNeeded:
        return request(conn, tenant, statement_id, lines, reason=reason, by=by, now=now)


def request(
    conn: Connection, tenant: str, statement_id: int, lines: Lines, *, reason: str, by: str, now: datetime
) -> CreditRequest:
    """Ask another person for a credit; what can be credited then is seen then.

    Raises `StatementNotFound`, `CreditNotPossible`.
    """
    store.get_statement(conn, tenant, statement_id)
    if not 0 < len(reason.strip()) <= credit_notes.REASON_LENGTH_MAX:
        raise CreditNotPossible(
            f"a credit needs a reason of at most {credit_notes.REASON_LENGTH_MAX} characters"
        )
    values = {
        "tenant": tenant,
        "statement_id": statement_id,
        "lines": Jsonb(None if lines is None else [[number, _stored(share)] for number, share in lines]),
        "reason": reason.strip(),
        "requested_by": by,
        "requested_at": now,
    }
    return get_request(conn, tenant, one_row(conn, "insert_credit_request", values)["request_id"])


def approve(conn: Connection, tenant: str, request_id: int, *, by: str, now: datetime) -> CreditNote:
    """Issue what was asked for.

    Raises `CreditRequestDecided`, `ApprovalNeeded` and what `credit_notes.issue` raises.
    """
    asked = _to_decide(conn, tenant, request_id, by)
    note = credit_notes.issue(
        conn, tenant, asked.statement_id, asked.lines, reason=asked.reason, by=asked.requested_by, now=now,
        approved_by=by,
    )  # fmt: skip
    _decide(conn, tenant, request_id, "approved", by, now, note.credit_note_id)
    return note


def refuse(conn: Connection, tenant: str, request_id: int, *, by: str, now: datetime) -> CreditRequest:
    """Nothing is credited. Raises `CreditRequestDecided`, `ApprovalNeeded`."""
    _to_decide(conn, tenant, request_id, by)
    _decide(conn, tenant, request_id, "refused", by, now, None)
    return get_request(conn, tenant, request_id)


def get_request(conn: Connection, tenant: str, request_id: int) -> CreditRequest:
    """Raises `CreditRequestNotFound`."""
    found = _find(conn, tenant, request_id=request_id)
    if not found:
        raise CreditRequestNotFound(f"no credit request {request_id}")
    return found[0]


def list_requests(conn: Connection, tenant: str, statement_id: int | None = None) -> list[CreditRequest]:
    """All of a tenant or of one statement, first asked first."""
    return _find(conn, tenant, statement_id=statement_id)


def _to_decide(conn: Connection, tenant: str, request_id: int, by: str) -> CreditRequest:
    credit_notes.lock(conn, tenant, get_request(conn, tenant, request_id).statement_id)
    asked = get_request(conn, tenant, request_id)
    if asked.state != "requested":
        raise CreditRequestDecided(f"credit request {request_id} was {asked.state} by {asked.decided_by}")
    if asked.requested_by == by:
        raise ApprovalNeeded(f"{by} asked for this credit; another person decides it")
    return asked


def _decide(
    conn: Connection, tenant: str, request_id: int, state: str, by: str, now: datetime, note_id: int | None
) -> None:
    values = {
        "tenant": tenant,
        "request_id": request_id,
        "state": state,
        "decided_by": by,
        "decided_at": now,
        "credit_note_id": note_id,
    }
    execute(conn, "decide_credit_request", values)


def _find(
    conn: Connection, tenant: str, request_id: int | None = None, statement_id: int | None = None
) -> list[CreditRequest]:
    values = {"tenant": tenant, "request_id": request_id, "statement_id": statement_id}
    return [_request(row) for row in rows(conn, "credit_requests", values)]


def _stored(share: Share) -> int | str | None:
    return str(share) if isinstance(share, Fraction) else share


def _request(row: Row) -> CreditRequest:
    stored = row["lines"]
    lines = None if stored is None else [
        (number, Fraction(share) if isinstance(share, str) else share) for number, share in stored
    ]  # fmt: skip
    names = ("request_id", "statement_id", "statement_number", "reason", "state", "requested_by", "requested_at",
             "decided_by", "decided_at", "credit_note_id")  # fmt: skip
    return CreditRequest(lines=lines, **{name: row[name] for name in names})

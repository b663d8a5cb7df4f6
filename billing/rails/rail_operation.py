"""Rail operations as they lie in the database; always in the caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from billing.cash.payment_errors import RailOperationConflict, RailOperationNotFound, RequestNotAllowed
from billing.money import Money
from billing.queries import Row, first_row, one_row, rows
from billing.rails.rail import Kind, Operation, Outcome, State

Connection = psycopg.Connection[Any]
TEXT_LENGTH_MAX = 300
LINES_MAX = 10_000
ALLOWED = frozenset(
    {
        "number", "payer_id", "payer_name", "email", "customer", "days_until_due", "lines", "description",
        "amount_minor", "payment", "payee_id", "payee_name", "account", "bank_code", "holder", "parts",
        "source", "reference", "invoice", "payout",
    }
)  # fmt: skip
"""The only fields that ever go to a rail: no case, no department, no study."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_UID_LIKE = re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){4,}(?![0-9.])")


def request(
    conn: Connection,
    tenant: str,
    *,
    rail: str,
    kind: Kind,
    subject_id: int,
    amount: Money,
    content: Mapping[str, Any],
    now: datetime,
) -> int:
    """Write the intent of an operation, in the caller's transaction; a worker sends it after the commit.

    The same subject again returns the first operation's id. Raises `RailOperationConflict` where it was
    asked before with another amount, `RequestNotAllowed` where `content` has what no rail may see.
    """
    require_allowed(content)
    key = {"tenant": tenant, "kind": str(kind), "subject_id": subject_id}
    row = first_row(
        conn,
        "insert_operation",
        {
            **key,
            "rail": rail,
            "currency": amount.currency,
            "amount_minor": amount.amount_minor,
            "request": Jsonb(dict(content)),
            "now": now,
        },
    )
    if row is not None:
        return int(row["operation_id"])
    known = one_row(conn, "operation_of_subject", key)
    if (known["amount_minor"], known["currency"]) != (amount.amount_minor, amount.currency):
        raise RailOperationConflict(f"{kind} of {subject_id} was asked for before with another amount")
    return int(known["operation_id"])


def require_allowed(content: object, name: str = "request") -> None:
    """Raise `RequestNotAllowed` unless every field is on the list and no value is shaped like a UID."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            if key not in ALLOWED:
                raise RequestNotAllowed(f"{str(key)[:40]!r} is no field that a rail may see")
            require_allowed(value, key)
    elif isinstance(content, list | tuple):
        if len(content) > LINES_MAX:
            raise RequestNotAllowed(f"{name}: more than {LINES_MAX} items")
        for item in content:
            require_allowed(item, name)
    elif isinstance(content, str):
        if len(content) > TEXT_LENGTH_MAX or _UNPRINTABLE.search(content) or _UID_LIKE.search(content):
            raise RequestNotAllowed(f"{name}: at most {TEXT_LENGTH_MAX} printable characters, and no UID")
    elif not isinstance(content, int) and content is not None:
        raise RequestNotAllowed(f"{name}: neither text nor a whole number")


def find(conn: Connection, tenant: str, operation_id: int) -> Operation:
    """Raises `RailOperationNotFound`."""
    row = first_row(conn, "operation_by_id", {"tenant": tenant, "operation_id": operation_id})
    if row is None:
        raise RailOperationNotFound(f"no rail operation {operation_id}")
    return operation_of(row)


def of_subject(conn: Connection, tenant: str, kind: Kind, subject_id: int) -> Operation | None:
    """The operation that was asked for a statement, credit note, refund or payout."""
    values = {"tenant": tenant, "kind": str(kind), "subject_id": subject_id}
    row = first_row(conn, "operation_of_subject", values)
    return None if row is None else operation_of(row)


def list_operations(
    conn: Connection, tenant: str, *, only_open: bool = False, limit: int = 1000
) -> list[Operation]:
    """Latest first. only_open: those that are not settled."""
    values = {"tenant": tenant, "only_open": only_open, "limit": limit}
    return [operation_of(row) for row in rows(conn, "operations", values)]


def move(
    conn: Connection, operation: Operation, outcome: Outcome, *, next_attempt_at: datetime, now: datetime
) -> Operation | None:
    """Take an operation to the outcome's state; None where someone else moved it meanwhile."""
    row = first_row(
        conn,
        "move_operation",
        {
            "tenant": operation.tenant,
            "operation_id": operation.operation_id,
            "from_state": str(operation.state),
            "from_changed_at": operation.changed_at,
            "state": str(outcome.state),
            "generation": operation.generation
            + (operation.state is State.FAILED and outcome.state is State.INTENT),
            "external_id": outcome.external_id,
            "detail": outcome.detail[:TEXT_LENGTH_MAX],
            "next_attempt_at": next_attempt_at,
            "now": now,
        },
    )
    return None if row is None else operation_of(row)


def operation_of(row: Row) -> Operation:
    return Operation(
        operation_id=row["operation_id"],
        tenant=row["tenant"],
        rail=row["rail"],
        kind=Kind(row["kind"]),
        subject_id=row["subject_id"],
        amount=Money(row["amount_minor"], row["currency"]),
        request=row["request"],
        state=State(row["state"]),
        generation=row["generation"],
        attempts=row["attempts"],
        external_id=row["external_id"],
        detail=row["detail"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )

"""What a settled operation means for the books: called in the transaction that moves it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg

from billing.cash import give_back
from billing.rails.rail import Kind, Operation, State
from billing.splits import payout

Connection = psycopg.Connection[Any]


def settle(conn: Connection, before: Operation, after: Operation, *, now: datetime) -> None:
    """Book what came of an operation that went from `before` to `after`."""
    if after.state is State.CONFIRMED:
        _confirmed(conn, after, now)
    elif after.state is State.FAILED:
        _failed(conn, before, after, now)


def _confirmed(conn: Connection, operation: Operation, now: datetime) -> None:
    if operation.kind is Kind.REFUND:
        give_back.book_refund(conn, operation.tenant, operation.subject_id, effective_at=now, now=now)
    elif operation.kind is Kind.PAY_OUT:
        payout.confirm(conn, operation.tenant, operation.subject_id, rail=operation.rail, now=now)
    elif operation.kind is Kind.TAKE_BACK:
        _take_back_payout(conn, operation, now)


def _failed(conn: Connection, before: Operation, operation: Operation, now: datetime) -> None:
    """Nothing was booked before it was confirmed; what came back after that is booked back."""
    if operation.kind is Kind.REFUND and before.state is State.CONFIRMED:
        give_back.book_refund_back(conn, operation.tenant, operation.subject_id, effective_at=now, now=now)
    elif operation.kind is Kind.PAY_OUT and before.state is State.CONFIRMED:
        _take_back_payout(conn, operation, now)
    elif operation.kind is Kind.PAY_OUT:
        reason = operation.detail or "the rail refused it"
        payout.fail(conn, operation.tenant, operation.subject_id, reason=reason, now=now)


def _take_back_payout(conn: Connection, operation: Operation, now: datetime) -> None:
    payout.take_back(
        conn,
        operation.tenant,
        operation.subject_id,
        rail=operation.rail,
        reason=operation.detail or "it came back",
        now=now,
    )

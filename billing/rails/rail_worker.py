"""Takes what was asked of the rails to its end: one call at a time, each written down before and after.

    intent ──claim──▶ sent ──call──▶ confirmed | failed | sent (taken over) | intent (refused, later) | unknown
    sent without an id, unknown ──look up──▶ confirmed | failed | sent; what is not there is called again,
                                            with the same key

A call that was cut off leaves `sent` without the rail's id. One worker at a time works for a tenant, so what
it finds in that state was cut off, and is looked up before anything else. Should a call of a dead worker
still be on its way, the idempotency key stands behind: the rail answers both with the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from billing.cash.payment_errors import RailOperationNotAllowed
from billing.queries import one_row, rows
from billing.rails import rail_operation
from billing.rails.rail import Kind, Operation, Outcome, Rail, State
from billing.rails.settle import settle
from billing.splits import payout

Connection = psycopg.Connection[Any]
Transact = Callable[[], AbstractContextManager[Connection]]
"""Opens a transaction of the tenant, on a connection of its own, that commits at its end."""

log = logging.getLogger("radmeter.rails")
BATCH_SIZE = 50
BACK_OFF_FIRST_S = 30.0
BACK_OFF_MAX_S = 6 * 3600.0
POLL_S = 3600.0
"""How often something that the rail has taken over is asked about, should its message have been lost."""


@dataclass(frozen=True)
class Worker:
    """One tenant's outbox. rails: by name; an operation of a rail that is not set up waits."""

    tenant: str
    transact: Transact
    rails: Mapping[str, Rail]
    clock: Callable[[], datetime]

    def run_once(self) -> int:
        """Take every operation that is due one step on; returns how many. 0 also where another worker is at it."""
        with self.transact() as guard:
            if not one_row(guard, "try_lock_worker", {"tenant": self.tenant})["is_ours"]:
                return 0
            values = {
                "tenant": self.tenant,
                "now": self.clock(),
                "limit": BATCH_SIZE,
                "rails": list(self.rails),
            }
            with self.transact() as conn:
                due = [rail_operation.operation_of(row) for row in rows(conn, "operations_due", values)]
            for operation in due:
                self._step(operation)
            return len(due)

    def _step(self, operation: Operation) -> None:
        rail = self.rails[operation.rail]
        if operation.state is State.INTENT:
            self._call(rail, operation)
            return
        if operation.state is State.SENT and operation.external_id is None:
            cut_off = self._move(operation, Outcome(State.UNKNOWN, detail="the call was cut off"))
            if cut_off is None:
                return
            operation = cut_off
        found = rail.look_up(operation)
        if found is not None:
            self._finish(operation, found)
        elif operation.state is State.UNKNOWN:
            self._call(rail, operation)
        else:
            self._finish(operation, Outcome(State.UNKNOWN, detail="the rail does not know it any more"))

    def _call(self, rail: Rail, operation: Operation) -> None:
        """Only whoever moved the operation to `sent` calls; that is committed before the call."""
        sent = self._move(operation, Outcome(State.SENT))
        if sent is None:
            return
        call = {
            Kind.COLLECT: rail.collect,
            Kind.CREDIT: rail.credit,
            Kind.REFUND: rail.refund,
            Kind.PAY_OUT: rail.pay_out,
            Kind.TAKE_BACK: rail.take_back,
        }[sent.kind]
        self._finish(sent, call(sent))

    def _finish(self, operation: Operation, outcome: Outcome) -> None:
        moved = self._move(operation, outcome)
        if moved is not None:
            log.info(
                "rail_operation_moved",
                extra={"tenant": self.tenant, "operation": moved.operation_id, "state": str(moved.state)},
            )

    def _move(self, operation: Operation, outcome: Outcome) -> Operation | None:
        now = self.clock()
        with self.transact() as conn:
            return take_to(conn, operation, outcome, now=now)


def take_to(conn: Connection, operation: Operation, outcome: Outcome, *, now: datetime) -> Operation | None:
    """Move an operation and book what that means, in one transaction; None where someone else moved it."""
    moved = rail_operation.move(
        conn, operation, outcome, next_attempt_at=now + _pause(operation, outcome), now=now
    )
    if moved is not None:
        settle(conn, operation, moved, now=now)
    return moved


def begin_anew(conn: Connection, tenant: str, operation_id: int, *, now: datetime) -> Operation:
    """A failed operation becomes an intent again, under a new key; a failed refund is asked for anew instead.

    What waits is made due now. Raises `RailOperationNotFound`, `RailOperationNotAllowed`.
    """
    operation = rail_operation.find(conn, tenant, operation_id)
    if operation.state is State.CONFIRMED:
        raise RailOperationNotAllowed(f"operation {operation_id} is confirmed: there is nothing to try again")
    if operation.state is State.FAILED:
        if operation.kind is Kind.REFUND:
            raise RailOperationNotAllowed("a failed refund gave its money back: ask for a new one")
        if operation.kind is Kind.PAY_OUT and not payout.may_be_sent_again(
            conn, tenant, operation.subject_id
        ):
            raise RailOperationNotAllowed("the payout was given up or came back: its amount is owed anew")
        outcome = Outcome(State.INTENT, detail="begun anew")
    else:
        outcome = Outcome(operation.state, detail="made due by hand")
    if operation.state is State.INTENT:
        one_row(conn, "make_due", {"tenant": tenant, "operation_id": operation_id, "now": now})
        return rail_operation.find(conn, tenant, operation_id)
    moved = rail_operation.move(conn, operation, outcome, next_attempt_at=now, now=now)
    if moved is None:
        raise RailOperationNotAllowed(f"operation {operation_id} was moved meanwhile: look again")
    return moved


def _pause(operation: Operation, outcome: Outcome) -> timedelta:
    """Until it is due again: doubling from half a minute, or as the rail asked; polling once it was taken over."""
    if outcome.state is State.SENT and outcome.external_id is None:
        return timedelta(0)
    if outcome.state is State.SENT:
        return timedelta(seconds=POLL_S)
    back_off_s = min(BACK_OFF_FIRST_S * 2.0 ** min(max(operation.attempts - 1, 0), 20), BACK_OFF_MAX_S)
    if (
        operation.state is State.SENT
        and outcome.state is State.UNKNOWN
        and outcome.detail == "the call was cut off"
    ):
        return timedelta(0)
    return timedelta(seconds=max(back_off_s, outcome.retry_after_s or 0.0))

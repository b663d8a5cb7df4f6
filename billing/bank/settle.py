"""Takes bank lines to what they mean: payments, confirmed orders, returns; the rest is a list of work."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

from billing.bank import match, store
from billing.bank.store import StoredLine
from billing.books import accounting
from billing.cash import give_back, payments
from billing.cash.payment_errors import PaymentRefused, RailOperationNotFound
from billing.cash.payment_record import OpenStatement, lock
from billing.money import Money
from billing.queries import rows
from billing.rails import rail_operation
from billing.rails.rail import Operation, Outcome, State
from billing.rails.rail_worker import take_to

Connection = psycopg.Connection[Any]
SOURCE = "bank"
_REFERENCE = re.compile(r"(?<![A-Z0-9])RMO([0-9]{1,18})G([0-9]{1,9})(?![0-9])")


@dataclass(frozen=True)
class Matched:
    """What was done with a line, or what a person has to decide; `sentence` says why."""

    stored: StoredLine
    is_settled: bool
    sentence: str
    proposal: match.Proposal | None = None


def match_all(conn: Connection, tenant: str, *, by: str, now: datetime) -> list[Matched]:
    """Settle every line that can mean one thing only; the others come back as work, each with its reason."""
    lock(conn, tenant)
    known = _Known(conn, tenant)
    return [_match(conn, tenant, stored, known, by, now) for stored in store.unused(conn, tenant)]


def receive_by_hand(
    conn: Connection,
    tenant: str,
    bank_line_id: int,
    *,
    payer_id: str,
    pays: Sequence[tuple[int, int | None]],
    by: str,
    now: datetime,
    fee_minor: int = 0,
) -> payments.Payment:
    """A person says whose payment a line is and what it pays; the rest stays unapplied.

    pays: statement id and minor units, None for all that both allow. fee_minor: what the bank kept before the
    money arrived; it is added to what the payer gave.
    """
    lock(conn, tenant)
    stored = store.get(conn, tenant, bank_line_id)
    if stored.line.amount.amount_minor < 0:
        raise PaymentRefused("the line is money that left; it is no payment to us")
    return _receive(conn, tenant, stored, payer_id, pays, fee_minor, "decided by hand", by, now)


def dismiss(conn: Connection, tenant: str, bank_line_id: int, *, reason: str, by: str, now: datetime) -> None:
    """A person says that a line is none of billing's: rent, a salary."""
    if not reason.strip():
        raise PaymentRefused("say why the line is none of billing's")
    store.get(conn, tenant, bank_line_id)
    store.use(conn, tenant, bank_line_id, "dismissed", reason=reason.strip(), by=by, now=now)


class _Known:
    """Statements and payers' accounts that lines are matched with; read once, then kept up as lines are settled."""

    def __init__(self, conn: Connection, tenant: str) -> None:
        self.conn, self.tenant = conn, tenant
        self.statements: dict[int, OpenStatement] = {}
        self.accounts: dict[str, str] = {}
        self.read()

    def read(self) -> None:
        found = payments.open_statements(self.conn, self.tenant, also_paid=True)
        self.statements = {one.statement_id: one for one in found}
        self.accounts = store.payer_accounts(self.conn, self.tenant)

    def paid(self, stored: StoredLine, proposal: match.Proposal) -> None:
        for statement_id, _ in proposal.pays:
            left = payments.open_amount(self.conn, self.tenant, statement_id)
            self.statements[statement_id] = replace(self.statements[statement_id], still_open=left)
        if proposal.payer_id and stored.line.counterparty_account:
            self.accounts.setdefault(stored.line.counterparty_account, proposal.payer_id)


def _match(
    conn: Connection, tenant: str, stored: StoredLine, known: _Known, by: str, now: datetime
) -> Matched:
    operation = _find_operation(conn, tenant, stored)
    if operation is not None:
        return _settle_order(conn, stored, operation, by, now)
    if stored.line.amount.amount_minor < 0:
        taken = _take_back(conn, tenant, stored, by, now)
        if taken.is_settled:
            known.read()
        return taken
    proposal = match.propose(stored.line, list(known.statements.values()), known.accounts)
    if not proposal.is_certain or proposal.payer_id is None:
        return Matched(stored, False, proposal.sentence, proposal)
    _receive(conn, tenant, stored, proposal.payer_id, proposal.pays, 0, proposal.sentence, by, now)
    known.paid(stored, proposal)
    return Matched(stored, True, proposal.sentence, proposal)


def _receive(
    conn: Connection,
    tenant: str,
    stored: StoredLine,
    payer_id: str,
    pays: Sequence[tuple[int, int | None]],
    fee_minor: int,
    reason: str,
    by: str,
    now: datetime,
) -> payments.Payment:
    line = stored.line
    fee = line.charges + Money(fee_minor, line.amount.currency)
    payment = payments.receive(
        conn,
        tenant,
        payer_id=payer_id,
        amount=line.amount + fee,
        fee=fee,
        source=SOURCE,
        external_id=stored.digest,
        received_at=_noon(conn, tenant, stored),
        remittance=line.remittance,
        by=by,
        now=now,
    )
    for statement_id, amount_minor in pays:
        payments.allocate(
            conn, tenant, payment.payment_id, statement_id, amount_minor, by=by, now=now, reason=reason
        )
    store.use(
        conn,
        tenant,
        stored.bank_line_id,
        "payment",
        payment_id=payment.payment_id,
        reason=reason,
        by=by,
        now=now,
    )
    store.learn_payer(conn, tenant, stored, payer_id)
    return payment


def _settle_order(
    conn: Connection, stored: StoredLine, operation: Operation, by: str, now: datetime
) -> Matched:
    """A line that carries the reference of an order of ours: it left, or it came back."""
    amount, asked = stored.line.amount, operation.amount
    name = f"{operation.kind} {operation.reference}"
    if amount == -asked and operation.state in (State.SENT, State.UNKNOWN):
        outcome, sentence = State.CONFIRMED, f"is our {name}, which the bank carried out"
    elif amount == asked and operation.state in (State.SENT, State.UNKNOWN, State.CONFIRMED):
        outcome, sentence = State.FAILED, f"is our {name}, which came back"
    else:
        return Matched(
            stored, False, f"carries the reference of {name} of {asked}, which is {operation.state}"
        )
    if take_to(conn, operation, Outcome(outcome, operation.external_id, sentence), now=now) is None:
        return Matched(stored, False, f"carries the reference of {name}, which just changed: match again")
    store.use(
        conn,
        operation.tenant,
        stored.bank_line_id,
        "operation",
        operation_id=operation.operation_id,
        reason=sentence,
        by=by,
        now=now,
    )
    return Matched(stored, True, sentence)


def _take_back(conn: Connection, tenant: str, stored: StoredLine, by: str, now: datetime) -> Matched:
    """Money that left without an order of ours: a returned payment where the bank says so, else work."""
    line = stored.line
    values = {
        "tenant": tenant,
        "account": line.counterparty_account,
        "amount_minor": -line.amount.amount_minor,
        "currency": line.amount.currency,
        "booked_on": line.booked_on,
    }
    candidates = rows(conn, "bank_payments_by_line", values) if line.counterparty_account else []
    by_id = [row for row in candidates if line.end_to_end_id and row["end_to_end_id"] == line.end_to_end_id]
    candidates = by_id or candidates
    if not line.is_return or len(candidates) != 1:
        what = f"fits {len(candidates)} payments" if candidates else "fits no order and no payment"
        return Matched(stored, False, f"left the account and {what}: a return, or none of billing's?")
    payment_id, sentence = candidates[0]["payment_id"], "is a payment that the bank took back"
    give_back.return_payment(
        conn,
        tenant,
        payment_id,
        amount=-line.amount,
        external_id=stored.digest,
        received_at=_noon(conn, tenant, stored),
        reason=sentence,
        by=by,
        now=now,
    )
    store.use(
        conn, tenant, stored.bank_line_id, "returned", payment_id=payment_id, reason=sentence, by=by, now=now
    )
    return Matched(stored, True, sentence)


def _find_operation(conn: Connection, tenant: str, stored: StoredLine) -> Operation | None:
    found = _REFERENCE.search(f"{stored.line.end_to_end_id} {stored.line.remittance}".upper())
    if found is None:
        return None
    try:
        operation = rail_operation.find(conn, tenant, int(found[1]))
    except RailOperationNotFound:
        return None
    is_same = operation.rail == SOURCE and operation.generation == int(found[2])
    return operation if is_same and operation.amount.currency == stored.line.amount.currency else None


def _noon(conn: Connection, tenant: str, stored: StoredLine) -> datetime:
    """Banks tell days: noon of it in the zone of the books lies in that day's month."""
    return datetime.combine(stored.line.booked_on, time(12), ZoneInfo(accounting.zone_of(conn, tenant)))

"""Payments: what came in, which statements it pays, what of it went back.

A payment is booked whole to the payer's unapplied cash; allocating it moves it to a statement's receivable.
Everything here first takes the tenant's row of the ledger's head, which booking needs anyway: whoever pays,
credits or writes off for a tenant waits for the other, so no sum is read that is about to change.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

import psycopg

from billing.books import accounting, ledger
from billing.books.ledger import CASH, RAIL_FEE, UNAPPLIED_CASH, Posting
from billing.cash.payment_errors import (
    AllocationTooLarge,
    PayerNotFound,
    PaymentConflict,
    PaymentNotFound,
    PaymentRefused,
)
from billing.cash.payment_record import (
    Allocation,
    Payment,
    StatementAccount,
    get_payment,
    list_payments,
    lock,
    open_amount,
    open_statements,
    payment_of,
    statement_account,
)
from billing.errors import CurrencyMismatch
from billing.money import Money
from billing.queries import first_row, one_row
from billing.splits import accrual

__all__ = [
    "Allocation",
    "Payment",
    "StatementAccount",
    "allocate",
    "get_payment",
    "list_payments",
    "open_amount",
    "open_statements",
    "receive",
    "statement_account",
    "unallocate",
]

Connection = psycopg.Connection[Any]
REMITTANCE_LENGTH_MAX = 1000
EXTERNAL_ID_LENGTH_MAX = 200


def receive(
    conn: Connection,
    tenant: str,
    *,
    payer_id: str,
    amount: Money,
    source: str,
    external_id: str,
    received_at: datetime,
    by: str,
    now: datetime,
    fee: Money | None = None,
    remittance: str = "",
) -> Payment:
    """Record and book a payment; the same one of the same source again returns the first.

    source: the rail it came by (`bank`, `stripe`). external_id: the rail's own id of it.
    Raises `PaymentConflict` where the id is known with other content, `PayerNotFound`, `PaymentRefused`.
    """
    fee = fee or Money.zero(amount.currency)
    _require_amount(amount, fee)
    if not 1 <= len(external_id) <= EXTERNAL_ID_LENGTH_MAX:
        raise PaymentRefused(f"a payment's id has 1 to {EXTERNAL_ID_LENGTH_MAX} characters")
    if not by:
        raise PaymentRefused("a payment says who recorded it")
    values = {
        "tenant": tenant,
        "payer_id": payer_id,
        "source": source,
        "external_id": external_id,
        "currency": amount.currency,
        "amount_minor": amount.amount_minor,
        "fee_minor": fee.amount_minor,
        "remittance": remittance[:REMITTANCE_LENGTH_MAX],
    }
    payload_hash = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
    lock(conn, tenant)
    known = first_row(conn, "payment_by_external_id", values)
    if known is not None:
        if bytes(known["payload_hash"]) != payload_hash:
            raise PaymentConflict(source, external_id)
        return payment_of(known)
    if first_row(conn, "party_exists", {"tenant": tenant, "party_id": payer_id}) is None:
        raise PayerNotFound(payer_id)
    times = {"received_at": received_at, "recorded_by": by, "recorded_at": now}
    row = one_row(conn, "insert_payment", {**values, **times, "payload_hash": payload_hash})
    payment = get_payment(conn, tenant, row["payment_id"])
    _book_receipt(conn, tenant, payment, now)
    return payment


def allocate(
    conn: Connection,
    tenant: str,
    payment_id: int,
    statement_id: int,
    amount_minor: int | None = None,
    *,
    by: str,
    now: datetime,
    reason: str = "",
) -> Allocation:
    """Pay a statement from a payment; without an amount, as much as both allow.

    What a payment brought beyond that stays the payer's unapplied cash. Raises `AllocationTooLarge`,
    `CurrencyMismatch`, `PaymentNotFound`, `StatementNotFound`.
    """
    lock(conn, tenant)
    payment = get_payment(conn, tenant, payment_id)
    account = statement_account(conn, tenant, statement_id)
    if payment.amount.currency != account.total.currency:
        raise CurrencyMismatch(payment.amount.currency, account.total.currency)
    most = min(payment.unapplied.amount_minor, account.still_open.amount_minor)
    asked = Money(most if amount_minor is None else amount_minor, payment.amount.currency)
    if not 0 < asked.amount_minor <= most:
        raise AllocationTooLarge(asked, payment.unapplied, account.still_open)
    allocation = _insert_allocation(conn, tenant, payment_id, statement_id, asked, None, reason, by, now)
    _book_allocation(conn, tenant, payment, account, allocation, now)
    return allocation


def unallocate(
    conn: Connection,
    tenant: str,
    allocation_id: int,
    amount_minor: int | None = None,
    *,
    reason: str,
    by: str,
    now: datetime,
) -> Allocation:
    """Take an allocation back, whole or in part: a new, negative row; the money is unapplied again.

    Raises `PaymentNotFound`, `PaymentRefused` where more would be taken back than stands.
    """
    lock(conn, tenant)
    key = {"tenant": tenant, "allocation_id": allocation_id}
    row = first_row(conn, "allocation_by_id", key)
    if row is None:
        raise PaymentNotFound(f"no allocation {allocation_id}")
    standing = row["amount_minor"] + one_row(conn, "taken_back", key)["amount_minor"]
    asked = standing if amount_minor is None else amount_minor
    if not 0 < asked <= standing:
        raise PaymentRefused(f"of allocation {allocation_id} there stand {max(standing, 0)} minor units")
    payment = get_payment(conn, tenant, row["payment_id"])
    account = statement_account(conn, tenant, row["statement_id"])
    amount = Money(-asked, payment.amount.currency)
    taken = _insert_allocation(
        conn, tenant, payment.payment_id, account.statement_id, amount, allocation_id, reason, by, now
    )
    _book_allocation(conn, tenant, payment, account, taken, now)
    return taken


def _require_amount(amount: Money, fee: Money) -> None:
    if amount.currency != fee.currency:
        raise CurrencyMismatch(amount.currency, fee.currency)
    if amount.amount_minor <= 0 or not 0 <= fee.amount_minor <= amount.amount_minor:
        raise PaymentRefused("a payment is above zero, and the fee no more than it")


def _insert_allocation(
    conn: Connection,
    tenant: str,
    payment_id: int,
    statement_id: int,
    amount: Money,
    reverses_id: int | None,
    reason: str,
    by: str,
    now: datetime,
) -> Allocation:
    values = {
        "tenant": tenant,
        "payment_id": payment_id,
        "statement_id": statement_id,
        "amount_minor": amount.amount_minor,
        "reverses_id": reverses_id,
        "reason": reason,
        "allocated_by": by,
        "allocated_at": now,
    }
    allocation_id = one_row(conn, "insert_allocation", values)["allocation_id"]
    return Allocation(allocation_id, payment_id, statement_id, amount, reverses_id)


def _book_receipt(conn: Connection, tenant: str, payment: Payment, now: datetime) -> None:
    cash = f"{CASH}:{payment.source}"
    effective_at = accounting.posting_time(conn, tenant, payment.received_at)
    times = {"effective_at": effective_at, "booked_at": now}
    reference = f"payment:{payment.payment_id}"
    unapplied = Posting(f"{UNAPPLIED_CASH}:{payment.payer_id}", -payment.amount)
    ledger.post(
        conn,
        tenant,
        template="payment_received",
        idempotency_key=reference,
        reference=reference,
        postings=(Posting(cash, payment.amount), unapplied),
        **times,
    )
    if payment.fee:
        ledger.post(
            conn,
            tenant,
            template="rail_fee_paid",
            idempotency_key=f"payment_fee:{payment.payment_id}",
            reference=reference,
            postings=(Posting(f"{RAIL_FEE}:{payment.source}", payment.fee), Posting(cash, -payment.fee)),
            **times,
        )


def _book_allocation(
    conn: Connection,
    tenant: str,
    payment: Payment,
    account: StatementAccount,
    allocation: Allocation,
    now: datetime,
) -> None:
    is_back = allocation.reverses_id is not None
    postings = (
        Posting(f"{UNAPPLIED_CASH}:{payment.payer_id}", allocation.amount),
        Posting(account.receivable_account, -allocation.amount),
    )
    ledger.post(
        conn,
        tenant,
        template="payment_unapplied" if is_back else "payment_applied",
        idempotency_key=f"allocation:{allocation.allocation_id}",
        reference=f"payment:{payment.payment_id}",
        postings=postings[::-1] if is_back else postings,
        effective_at=now,
        booked_at=now,
    )
    accrual.settle(conn, tenant, account.statement_id, key=f"allocation:{allocation.allocation_id}", now=now)

"""What billing asks of a rail: each writes an intent into the caller's transaction, a worker sends it later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from billing.cash.payment_errors import CurrencyNotOnRail, RailAddressMissing
from billing.cash.payment_record import statement_account
from billing.claims.credit_note_record import CreditNote
from billing.contracts import store
from billing.money import Money
from billing.queries import one_row
from billing.rails import rail_address, rail_operation
from billing.rails.invoice_lines import invoice_lines
from billing.rails.rail import Kind, State
from billing.rails.rail_address import require_out
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]
BANK, STRIPE = "bank", "stripe"
COUNTED_OTHERWISE = frozenset(["ISK", "UGX", "MGA", "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
"""Stripe wants hundredths of ISK and UGX, whole MGA, and the last of three decimals at zero: a hundredfold or a
tenth of a statement must not be asked, so these go by bank."""


@dataclass(frozen=True)
class Part:
    """payment_id: the payment whose money this part of a payout is; None where none is named."""

    amount_minor: int
    payment_id: int | None = None


def statement_issued(conn: Connection, statement: Statement, *, now: datetime) -> None:
    """Ask for a statement where its payer pays by another rail than bank transfer, in the issuing transaction."""
    assert statement.statement_id is not None
    account = statement_account(conn, statement.tenant, statement.statement_id)
    payer_id = account.receivable_account.partition(":")[2]
    address = rail_address.find(conn, statement.tenant, payer_id, rail_address.IN)
    if address is not None and address.rail != BANK and _is_counted_alike(address.rail, statement.currency):
        request_collect(conn, statement.tenant, statement.statement_id, now=now)


def credit_note_issued(conn: Connection, note: CreditNote, *, now: datetime) -> None:
    """Tell the rail that was asked to collect a statement of a credit note on it."""
    assert note.credit_note_id is not None
    assert note.number is not None
    if note.total:
        request_credit(
            conn,
            note.tenant,
            note.credit_note_id,
            statement_id=note.statement_id,
            number=note.number,
            amount=note.total,
            now=now,
        )


def request_collect(
    conn: Connection, tenant: str, statement_id: int, *, now: datetime, rail: str | None = None
) -> int | None:
    """Ask for what is open of a statement by the rail its payer uses; None where nothing is open.

    rail: another than the payer's (`rail_address`; bank transfer where there is none).
    """
    account = statement_account(conn, tenant, statement_id)
    known = rail_operation.of_subject(conn, tenant, Kind.COLLECT, statement_id)
    if known is not None:
        return known.operation_id
    if account.still_open.amount_minor <= 0:
        return None
    statement = store.get_statement(conn, tenant, statement_id)
    payer_id = account.receivable_account.partition(":")[2]
    address = rail_address.find(conn, tenant, payer_id, rail_address.IN)
    payer_name = one_row(conn, "party_name", {"tenant": tenant, "party_id": payer_id})["legal_name"]
    content: dict[str, Any] = {
        "number": account.number,
        "payer_id": payer_id,
        "payer_name": payer_name,
        "email": address.email if address else "",
        "customer": address.account if address else "",
        "days_until_due": statement.payment_terms_days,
        "lines": invoice_lines(statement, account.still_open),
    }
    return _request(
        conn,
        tenant,
        rail=rail or (address.rail if address else BANK),
        kind=Kind.COLLECT,
        subject_id=statement_id,
        amount=account.still_open,
        content=content,
        now=now,
    )


def request_refund(conn: Connection, tenant: str, refund_id: int, *, now: datetime) -> int:
    """Ask for a refund by the way its payment came. Raises `RailAddressMissing`."""
    row = one_row(conn, "refund_by_id", {"tenant": tenant, "refund_id": refund_id})
    amount = Money(row["amount_minor"], row["currency"])
    content: dict[str, Any] = {"payer_id": row["payer_id"], "reference": f"refund {refund_id}"}
    rail = STRIPE if row["source"] == STRIPE else BANK
    if rail == STRIPE:
        content["payment"] = row["payment_external_id"]
    else:
        content |= _bank_address(conn, tenant, row["payer_id"])
    return _request(
        conn,
        tenant,
        rail=rail,
        kind=Kind.REFUND,
        subject_id=refund_id,
        amount=amount,
        content=content,
        now=now,
    )


def request_payout(
    conn: Connection,
    tenant: str,
    payout_id: int,
    *,
    payee_id: str,
    amount: Money,
    reference: str,
    now: datetime,
    parts: Sequence[Part] = (),
) -> int:
    """Ask for a payout to where the payee is to be paid (`rail_address`); returns the operation's id.

    reference: what the payee reads, the payout statement's number say. parts: which payments' money it is,
    summing to `amount`; Stripe then waits for each to arrive. Raises `RailAddressMissing`.
    """
    assert not parts or sum(part.amount_minor for part in parts) == amount.amount_minor
    address = require_out(conn, tenant, payee_id)
    content: dict[str, Any] = {
        "payee_id": payee_id,
        "reference": reference,
        "account": address.account,
        "bank_code": address.bank_code,
        "holder": address.holder,
    }
    if address.rail == STRIPE and parts:
        content["parts"] = [_part_values(conn, tenant, part) for part in parts]
    return _request(
        conn,
        tenant,
        rail=address.rail,
        kind=Kind.PAY_OUT,
        subject_id=payout_id,
        amount=amount,
        content=content,
        now=now,
    )


def request_take_back(conn: Connection, tenant: str, payout_id: int, *, amount: Money, now: datetime) -> int:
    """Ask to take a payout back, whole or in part, where its rail can."""
    paid = rail_operation.of_subject(conn, tenant, Kind.PAY_OUT, payout_id)
    if paid is None or paid.state is not State.CONFIRMED:
        raise RailAddressMissing(f"payout {payout_id} was not paid, so there is nothing to take back")
    return _request(
        conn,
        tenant,
        rail=paid.rail,
        kind=Kind.TAKE_BACK,
        subject_id=payout_id,
        amount=amount,
        content={"payout": paid.name, "reference": str(paid.request["reference"])},
        now=now,
    )


def request_credit(
    conn: Connection,
    tenant: str,
    credit_note_id: int,
    *,
    statement_id: int,
    number: str,
    amount: Money,
    now: datetime,
) -> int | None:
    """Tell the rail that collects a statement of a credit note on it; None where no rail was asked to collect."""
    collected = rail_operation.of_subject(conn, tenant, Kind.COLLECT, statement_id)
    if collected is None:
        return None
    return _request(
        conn,
        tenant,
        rail=collected.rail,
        kind=Kind.CREDIT,
        subject_id=credit_note_id,
        amount=amount,
        content={
            "number": number,
            "invoice": collected.name,
            "customer": collected.request.get("customer", ""),
        },
        now=now,
    )


def _bank_address(conn: Connection, tenant: str, party_id: str) -> dict[str, Any]:
    address = require_out(conn, tenant, party_id)
    return {"account": address.account, "bank_code": address.bank_code, "holder": address.holder}


def _part_values(conn: Connection, tenant: str, part: Part) -> dict[str, Any]:
    if part.payment_id is None:
        return {"amount_minor": part.amount_minor}
    row = one_row(conn, "payment_by_id", {"tenant": tenant, "payment_id": part.payment_id})
    # Only a payment that came by the same rail can be the source of a transfer on it.
    return {"amount_minor": part.amount_minor} | (
        {"source": row["external_id"]} if row["source"] == STRIPE else {}
    )


def _request(conn: Connection, tenant: str, *, rail: str, amount: Money, **what: Any) -> int:
    if not _is_counted_alike(rail, amount.currency):
        raise CurrencyNotOnRail(rail, amount.currency)
    return rail_operation.request(conn, tenant, rail=rail, amount=amount, **what)


def _is_counted_alike(rail: str, currency: str) -> bool:
    """Whether a rail counts a currency in the same minor unit as ISO 4217 and we do."""
    return rail != STRIPE or currency not in COUNTED_OTHERWISE

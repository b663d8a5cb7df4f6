"""Payout: money on its way to a payee. One person asks, another who is not the payee approves, a rail pays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import psycopg

from billing.books import accounting
from billing.contracts import store
from billing.money import Money, to_money
from billing.queries import Row, execute, first_row, one_row, rows
from billing.rails import Part, rail_operation, request_payout, request_take_back
from billing.rails.rail import Kind, State
from billing.splits.booking import Fact, book, lock_books
from billing.splits.errors import PayoutNotFound, PayoutRefused
from billing.splits.sources import parts_of
from billing.splits.terms import Payee, PayeeKind

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Payout:
    """kind: `statement` pays what a payout statement leaves to pay, `advance` what a contract pays beforehand.

    state: requested → approved → confirmed → returned; approved → failed → confirmed or cancelled;
    requested → cancelled. What failed holds its amount until it is cancelled: then it is owed again. Whatever a
    rail paid is booked, also where it had been given up.
    reference: what the payee reads. revision: from 1, up with each change.
    """

    payout_id: int
    tenant: str
    kind: str
    payout_statement_id: int | None
    seller_id: str
    party_id: str
    amount: Money
    reference: str
    state: str
    requested_by: str
    approved_by: str | None
    detail: str
    revision: int


def get(conn: Connection, tenant: str, payout_id: int) -> Payout:
    """Raises `PayoutNotFound`."""
    return _payout(_row(conn, tenant, payout_id))


def list_payouts(conn: Connection, tenant: str, limit: int = 1000) -> list[Payout]:
    """Latest first."""
    return [_payout(row) for row in rows(conn, "payouts", {"tenant": tenant, "limit": limit})]


def request_advance(
    conn: Connection, tenant: str, contract_id: int, split_name: str, party_id: str, *, by: str, now: datetime
) -> Payout:
    """Ask for the payout of an advance that the contract in force promises; it is paid once.

    Raises `PayoutRefused`, `ContractNotFound`.
    """
    lock_books(conn, tenant)
    contract = store.contract_at(conn, tenant, contract_id, now).contract
    payee = Payee(PayeeKind.PARTY, party_id)
    advances = [
        claim.advance
        for split in contract.splits
        for claim in split.claims
        if split.name == split_name and claim.payee == payee and claim.advance
    ]
    if not advances:
        raise PayoutRefused(f"split {split_name!r} of {contract.name!r} promises {party_id!r} no advance")
    values = {
        "tenant": tenant,
        "contract_id": contract_id,
        "split": split_name,
        "party_id": party_id,
        "seller_id": contract.seller.id,
        "currency": contract.currency,
        "amount_minor": to_money(Fraction(advances[0]), contract.currency).amount_minor,
        "kind": "advance",
        "payout_statement_id": None,
        "by": by,
        "now": now,
    }
    if first_row(conn, "advance_of", values):
        raise PayoutRefused(f"the advance of {party_id!r} was asked for before")
    return get(conn, tenant, one_row(conn, "insert_payout", values)["payout_id"])


def approve(
    conn: Connection, tenant: str, payout_id: int, *, by: str, now: datetime, of_party: str | None = None
) -> Payout:
    """Let a payout go, on the word of somebody who did not ask for it and is not its payee.

    of_party: the party that `by` belongs to, where it is known to belong to one. A rail sends it after the commit.
    Raises `PayoutRefused`, `PayoutNotFound`, `RailAddressMissing`.
    """
    payout = _locked(conn, tenant, payout_id, "requested")
    if by == payout.requested_by:
        raise PayoutRefused(f"{by!r} asked for this payout: somebody else approves it")
    if payout.party_id in (by, of_party):
        raise PayoutRefused(f"{by!r} is or belongs to the payee: somebody else approves it")
    request_payout(
        conn,
        tenant,
        payout_id,
        payee_id=payout.party_id,
        amount=payout.amount,
        reference=payout.reference,
        parts=_parts(conn, payout),
        now=now,
    )
    return _change(conn, payout, "approved", now, by=by, of_party=of_party)


def cancel(conn: Connection, tenant: str, payout_id: int, *, by: str, reason: str, now: datetime) -> Payout:
    """Give up a payout that was not approved or that failed; its amount is owed again."""
    payout = _locked(conn, tenant, payout_id, "requested", "failed")
    asked = rail_operation.of_subject(conn, tenant, Kind.PAY_OUT, payout_id)
    if asked is not None and asked.state is not State.FAILED:
        raise PayoutRefused(f"payout {payout_id} was begun anew and is {asked.state}: wait for the rail")
    return _change(conn, payout, "cancelled", now, detail=f"{reason} ({by})")


def confirm(conn: Connection, tenant: str, payout_id: int, *, rail: str, now: datetime) -> Payout:
    """The rail paid it: what was owed is settled, an advance is outstanding."""
    payout = _locked(conn, tenant, payout_id, "approved", "failed", "returned", "cancelled")
    confirmed = _change(conn, payout, "confirmed", now)
    _book(conn, confirmed, rail, now, "payout_sent", -payout.amount.amount_minor)
    return confirmed


def fail(conn: Connection, tenant: str, payout_id: int, *, reason: str, now: datetime) -> Payout:
    """The rail did not pay it; nothing is booked, and the amount is held until the payout is cancelled."""
    payout = _locked(conn, tenant, payout_id, "approved", "failed", "cancelled")
    return _change(conn, payout, "failed", now, detail=reason) if payout.state == "approved" else payout


def may_be_sent_again(conn: Connection, tenant: str, payout_id: int) -> bool:
    """Whether a rail may try a payout anew that it failed to pay; not where its amount is owed again."""
    return get(conn, tenant, payout_id).state == "failed"


def ask_back(conn: Connection, tenant: str, payout_id: int, *, now: datetime) -> None:
    """Ask the rail to take a confirmed payout back, whole; once it has, the amount is owed again."""
    payout = _locked(conn, tenant, payout_id, "confirmed")
    request_take_back(conn, tenant, payout_id, amount=payout.amount, now=now)


def take_back(
    conn: Connection, tenant: str, payout_id: int, *, rail: str, reason: str, now: datetime
) -> Payout:
    """A confirmed payout came back: it is owed again, or an advance is no longer outstanding."""
    payout = _locked(conn, tenant, payout_id, "confirmed")
    outstanding = _outstanding(conn, payout)
    returned = _change(conn, payout, "returned", now, detail=reason)
    if payout.kind == "advance":
        _book_advance_back(conn, returned, rail, now, outstanding)
    else:
        _book(conn, returned, rail, now, "payout_returned", payout.amount.amount_minor)
    return returned


def _parts(conn: Connection, payout: Payout) -> list[Part]:
    """An advance has no charge that brought it."""
    if payout.payout_statement_id is None:
        return []
    amount = payout.amount
    return parts_of(conn, payout.tenant, payout.payout_statement_id, amount.amount_minor, amount.currency)


def _locked(conn: Connection, tenant: str, payout_id: int, *states: str) -> Payout:
    lock_books(conn, tenant)
    payout = get(conn, tenant, payout_id)
    if payout.state not in states:
        raise PayoutRefused(f"payout {payout_id} is {payout.state}, not {' or '.join(states)}")
    return payout


def _change(
    conn: Connection,
    payout: Payout,
    state: str,
    now: datetime,
    *,
    by: str | None = None,
    of_party: str | None = None,
    detail: str = "",
) -> Payout:
    values = {
        "tenant": payout.tenant,
        "payout_id": payout.payout_id,
        "state": state,
        "by": by,
        "of_party": of_party,
        "detail": detail[:500],
        "now": now,
    }
    execute(conn, "change_payout", values)
    return get(conn, payout.tenant, payout.payout_id)


def _book(conn: Connection, payout: Payout, rail: str, now: datetime, template: str, moved: int) -> None:
    """The journal entry, and for what a statement left to pay the movement of the payee's account."""
    fact, amounts = _fact(conn, payout, now), {payout.party_id: payout.amount.amount_minor}
    book(conn, fact, "advance_paid" if payout.kind == "advance" else template, amounts, rail=rail)
    if payout.kind == "statement":
        values = {
            "tenant": payout.tenant,
            "payout_id": payout.payout_id,
            "kind": template,
            "amount_minor": moved,
            "reference": fact.reference,
            "moved_at": now,
        }
        execute(conn, "insert_payout_movement", values)


def _book_advance_back(conn: Connection, payout: Payout, rail: str, now: datetime, outstanding: int) -> None:
    """The cash is back and the advance no longer outstanding; what was recouped of it is owed to the payee again."""
    fact, amount = _fact(conn, payout, now), payout.amount.amount_minor
    recouped = max(0, amount - outstanding)
    book(conn, fact, "payout_returned", {payout.party_id: amount}, rail=rail)
    if amount > recouped:
        book(conn, fact, "advance_recouped", {payout.party_id: amount - recouped})
    if recouped:
        values = {
            "tenant": payout.tenant,
            "seller_id": payout.seller_id,
            "party_id": payout.party_id,
            "currency": payout.amount.currency,
            "kind": "payout_returned",
            "amount_minor": recouped,
            "period_end": now.date(),
            "reference": f"advance:{payout.payout_id}",
            "moved_at": now,
        }
        execute(conn, "insert_movement", values)


def _fact(conn: Connection, payout: Payout, now: datetime) -> Fact:
    reference = f"payout:{payout.payout_id}"
    effective_at = accounting.posting_time(conn, payout.tenant, now)
    key = f"{reference}:{payout.revision}"
    return Fact(payout.tenant, payout.amount.currency, key, reference, effective_at, now)


def _outstanding(conn: Connection, payout: Payout) -> int:
    values = {
        "tenant": payout.tenant,
        "seller_id": payout.seller_id,
        "party_id": payout.party_id,
        "currency": payout.amount.currency,
        "period_end": date.max,
    }
    return int(one_row(conn, "payout_balances", values)["advance_minor"])


def _row(conn: Connection, tenant: str, payout_id: int) -> Row:
    row = first_row(conn, "payout_by_id", {"tenant": tenant, "payout_id": payout_id})
    if row is None:
        raise PayoutNotFound(f"no payout {payout_id}")
    return row


def _payout(row: Row) -> Payout:
    return Payout(
        payout_id=row["payout_id"],
        tenant=row["tenant"],
        kind=row["kind"],
        payout_statement_id=row["payout_statement_id"],
        seller_id=row["seller_id"],
        party_id=row["party_id"],
        amount=Money(row["amount_minor"], row["currency"]),
        reference=row["reference"],
        state=row["state"],
        requested_by=row["requested_by"],
        approved_by=row["approved_by"],
        detail=row["detail"],
        revision=row["revision"],
    )

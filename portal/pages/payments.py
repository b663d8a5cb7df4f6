"""Payments: what came in, what it pays, what still waits for a person; our bank's statements."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, File, Form, Path, Request, Response, UploadFile

from billing.bank import settle
from billing.bank import store as bank
from billing.bank.line import BankLine, money_of
from billing.bank.read_camt import read_camt
from billing.bank.read_csv import CsvForm, read_csv
from billing.bank.read_mt940 import read_mt940
from billing.books import accounting
from billing.cash import payments
from billing.contracts import store as billing_store
from pipeline.database import Connection
from portal.attempt import attempt
from portal.context import CHANGES_MONEY, SEES_MONEY, Identity
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_MONEY))]
Changer = Annotated[Identity, Depends(signed_in(CHANGES_MONEY))]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Text = Annotated[str, Form(max_length=200)]
PartyId = Annotated[str, Form(max_length=64)]
StatementId = Annotated[int, Form(ge=1, le=2**63 - 1)]


@router.get("/payments")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        return _page(request, conn, identity)


@router.post("/payments/receive")
def receive(
    request: Request,
    context: Context,
    identity: Changer,
    payer_id: PartyId,
    amount: Text,
    currency: Annotated[str, Form(pattern="^[A-Z]{3}$")],
    external_id: Text,
    received_on: Annotated[date, Form()],
) -> Response:
    """Record a payment that no bank file brought; it pays nothing until it is allocated."""

    def act(conn: Connection) -> str:
        zone = ZoneInfo(accounting.zone_of(conn, identity.tenant))
        payments.receive(
            conn,
            identity.tenant,
            payer_id=payer_id,
            amount=money_of(amount, currency),
            source="bank",
            external_id=external_id,
            received_at=datetime.combine(received_on, time(12), zone),
            by=identity.user_name,
            now=datetime.now(UTC),
        )
        return ""

    return _act(request, context, identity, act)


@router.post("/payments/{payment_id}/allocate")
def allocate(
    request: Request,
    context: Context,
    identity: Changer,
    payment_id: Number,
    statement_id: StatementId,
    amount: Text = "",
) -> Response:
    """Pay a statement from a payment; without an amount, as much as both allow."""

    def act(conn: Connection) -> str:
        currency = payments.get_payment(conn, identity.tenant, payment_id).amount.currency
        minor = money_of(amount, currency).amount_minor if amount.strip() else None
        payments.allocate(
            conn,
            identity.tenant,
            payment_id,
            statement_id,
            minor,
            by=identity.user_name,
            now=datetime.now(UTC),
        )
        return ""

    return _act(request, context, identity, act)


@router.post("/bank/import")
def import_file(
    request: Request,
    context: Context,
    identity: Changer,
    file: Annotated[UploadFile, File()],
    form: Annotated[str, Form(pattern="^(csv|camt.053|mt940)$")],
    account: Text = "",
    currency: Annotated[str, Form(pattern="^([A-Z]{3})?$")] = "",
) -> Response:
    """Store the lines of a bank's file, once; settle what can mean one thing only."""
    data = file.file.read()  # the guard bounds the whole request

    def act(conn: Connection) -> str:
        now, by = datetime.now(UTC), identity.user_name
        lines = _read(form, data, account, currency)
        new = bank.add(conn, identity.tenant, lines, data=data, by=by, now=now)
        matched = settle.match_all(conn, identity.tenant, by=by, now=now)
        settled = sum(one.is_settled for one in matched)
        return f"?lines={len(lines)}&new={len(new)}&settled={settled}"

    return _act(request, context, identity, act)


@router.post("/bank/lines/{bank_line_id}/settle")
def settle_line(
    request: Request,
    context: Context,
    identity: Changer,
    bank_line_id: Number,
    payer_id: PartyId,
    statement_id: Annotated[int | None, Form(ge=1, le=2**63 - 1)] = None,
) -> Response:
    """A person says whose payment a line is and which statement it pays; the rest stays unapplied."""

    def act(conn: Connection) -> str:
        pays = [(statement_id, None)] if statement_id else []
        settle.receive_by_hand(
            conn,
            identity.tenant,
            bank_line_id,
            payer_id=payer_id,
            pays=pays,
            by=identity.user_name,
            now=datetime.now(UTC),
        )
        return ""

    return _act(request, context, identity, act)


@router.post("/bank/lines/{bank_line_id}/dismiss")
def dismiss_line(
    request: Request, context: Context, identity: Changer, bank_line_id: Number, reason: Text
) -> Response:
    """A person says that a line is none of billing's."""

    def act(conn: Connection) -> str:
        settle.dismiss(
            conn,
            identity.tenant,
            bank_line_id,
            reason=reason,
            by=identity.user_name,
            now=datetime.now(UTC),
        )
        return ""

    return _act(request, context, identity, act)


def _act(
    request: Request, context: Context, identity: Identity, act: Callable[[Connection], str]
) -> Response:
    """act: gives the query to go back to the page with."""
    queries: list[str] = []
    with context.database.transaction(identity.tenant) as conn:
        return attempt(
            conn,
            lambda: queries.append(act(conn)),
            lambda: f"/payments{queries[0]}",
            lambda problem: _page(request, conn, identity, problem),
        )


def _page(request: Request, conn: Connection, identity: Identity, problem: str | None = None) -> Response:
    tenant = identity.tenant
    asked = {name: request.query_params.get(name, "") for name in ("lines", "new", "settled")}
    return page(
        request,
        "payments.html",
        status_code=409 if problem else 200,
        payments=payments.list_payments(conn, tenant, limit=200),
        open_statements=payments.open_statements(conn, tenant),
        waiting=bank.unused(conn, tenant, limit=200),
        parties=billing_store.list_parties(conn, tenant),
        imported=asked if all(value.isdecimal() for value in asked.values()) else None,
        problem=problem,
        may_change=identity.may(CHANGES_MONEY),
        today=datetime.now(UTC).date(),
    )


def _read(form: str, data: bytes, account: str, currency: str) -> list[BankLine]:
    if form == "csv":
        return read_csv(data, CsvForm(account, currency, {}, ".", "utf-8"))
    return read_camt(data) if form == "camt.053" else read_mt940(data)

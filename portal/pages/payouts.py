"""Payouts: what each payee earned, its payout statements, and letting money go by two people.

A vendor's people see their own party alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from markupsafe import Markup

from billing.books import accounting
from billing.contracts import payees
from billing.splits import payout, payout_paper, payout_statement
from billing.splits.errors import PayoutNotFound
from billing.splits.payout_record import PayoutStatement
from pipeline.database import Connection
from portal.attempt import attempt
from portal.context import APPROVES_MONEY, CHANGES_MONEY, SEES_PAYOUTS, Identity
from portal.errors import PageNotFound
from portal.pages.statements import file_of, printing
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_PAYOUTS))]
Changer = Annotated[Identity, Depends(signed_in(CHANGES_MONEY))]
Approver = Annotated[Identity, Depends(signed_in(APPROVES_MONEY))]
_A_MOMENT = timedelta(microseconds=1)

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.get("/payouts")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    """The payees; for somebody of one party, its shares at once."""
    with context.database.transaction(identity.tenant) as conn:
        if identity.only_party is not None:
            return _party_page(request, conn, identity, identity.only_party)
        return page(request, "payouts.html", payees=payees.payees(conn, identity.tenant))


@router.get("/payouts/statements/{payout_statement_id}.pdf")
def show_pdf(context: Context, identity: Viewer, payout_statement_id: Number) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = _statement(conn, identity, payout_statement_id)
    with printing:
        pdf = payout_paper.render_pdf(found, identity.language)
    return file_of(pdf, "application/pdf", f"{found.number}.pdf")


@router.get("/payouts/statements/{payout_statement_id}")
def show_statement(
    request: Request, context: Context, identity: Viewer, payout_statement_id: Number
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = _statement(conn, identity, payout_statement_id)
    # The fragment escapes its own values; it is the template that the PDF is printed from.
    body = Markup(payout_paper.render_html(found, identity.language))  # noqa: S704
    return page(request, "payout_statement.html", statement=found, body=body)


@router.get("/payouts/{party_id}")
def show_party(request: Request, context: Context, identity: Viewer, party_id: str) -> Response:
    """What one party earned, period by period. Another's is nothing of theirs: 404."""
    if identity.only_party not in (None, party_id):
        raise PageNotFound
    with context.database.transaction(identity.tenant) as conn:
        return _party_page(request, conn, identity, party_id)


@router.post("/payouts/{party_id}/issue")
def issue(
    request: Request,
    context: Context,
    identity: Changer,
    party_id: str,
    seller_id: Annotated[str, Form(max_length=64)],
    currency: Annotated[str, Form(pattern="^[A-Z]{3}$")],
    month: Annotated[str, Form(pattern="^[0-9]{4}-[0-9]{2}$")],
) -> Response:
    """Issue the payout statement of a month, and ask for the payout of what it leaves to pay."""

    def act(conn: Connection) -> None:
        account = payout_statement.Account(identity.tenant, seller_id, party_id, currency)
        if account not in payout_statement.accounts(conn, identity.tenant):
            raise PageNotFound
        period = accounting.month_named(conn, identity.tenant, month)
        payout_statement.issue(conn, account, period, by=identity.user_name, now=datetime.now(UTC))

    return _act(request, context, identity, party_id, act)


@router.post("/payouts/{party_id}/approve")
def approve(
    request: Request,
    context: Context,
    identity: Approver,
    party_id: str,
    payout_id: Annotated[int, Form(ge=1, le=2**63 - 1)],
) -> Response:
    """Let a payout go: somebody else than who asked for it, and nobody of the payee's."""

    def act(conn: Connection) -> None:
        if payout.get(conn, identity.tenant, payout_id).party_id != party_id:
            raise PayoutNotFound
        now = datetime.now(UTC)
        payout.approve(
            conn, identity.tenant, payout_id, by=identity.user_name, now=now, of_party=identity.party_id
        )

    return _act(request, context, identity, party_id, act)


def _act(
    request: Request,
    context: Context,
    identity: Identity,
    party_id: str,
    act: Callable[[Connection], object],
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        return attempt(
            conn,
            lambda: act(conn),
            f"/payouts/{party_id}",
            lambda problem: _party_page(request, conn, identity, party_id, problem),
        )


def _party_page(
    request: Request,
    conn: Connection,
    identity: Identity,
    party_id: str,
    problem: str | None = None,
) -> Response:
    tenant = identity.tenant
    found = payees.payees(conn, tenant, party_id)
    accounts = [one for one in payout_statement.accounts(conn, tenant) if one.party_id == party_id]
    if not found and not accounts and identity.only_party is None:
        raise PageNotFound
    this_month = accounting.month_of(conn, tenant, datetime.now(UTC))
    last_month = accounting.month_of(conn, tenant, this_month.start_at - _A_MOMENT)
    return page(
        request,
        "payee.html",
        status_code=409 if problem else 200,
        party_id=party_id,
        payees=found,
        accounts=accounts,
        last_month=last_month.starts_on.isoformat()[:7],
        shares=payees.earned_shares(conn, tenant, party_id),
        statements=payees.payout_statements(conn, tenant, party_id),
        payouts=payees.payouts(conn, tenant, party_id),
        problem=problem,
        may_change=identity.may(CHANGES_MONEY),
        may_approve=identity.may(APPROVES_MONEY) and identity.party_id != party_id,
    )


def _statement(conn: Connection, identity: Identity, payout_statement_id: int) -> PayoutStatement:
    found = payout_statement.get(conn, identity.tenant, payout_statement_id)
    if identity.only_party not in (None, found.payee.id):
        raise PageNotFound
    return found

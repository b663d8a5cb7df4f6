"""What became of a statement since it was issued: what is open, credit notes, disputes; and asking for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response

from billing.cash import payment_record
from billing.claims import credit_notes, credit_requests, disputes
from billing.money import Money, exponent
from billing.statements.statement_record import Statement
from pipeline.database import Connection
from portal.attempt import attempt
from portal.context import APPROVES_MONEY, CHANGES_MONEY, DISPUTES, SEES_STATEMENTS, Identity
from portal.errors import InvalidInput, PageNotFound
from portal.pages.statements import StatementId, issued_for
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_STATEMENTS))]
Changer = Annotated[Identity, Depends(signed_in(CHANGES_MONEY))]
Approver = Annotated[Identity, Depends(signed_in(APPROVES_MONEY))]
Disputer = Annotated[Identity, Depends(signed_in(DISPUTES))]
Text = Annotated[str, Form(max_length=500)]

_AMOUNT = re.compile(r"-?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,8})?")


@dataclass(frozen=True)
class ClaimForm:
    """What was typed, so that a refusal loses nothing of it. line: "" for all lines. amount: "" for the rest."""

    action: str = ""
    line: str = ""
    amount: str = ""
    reason: str = ""


@router.get("/statements/{statement_id}/account")
def show(request: Request, context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        return _page(request, conn, identity, issued_for(conn, identity, statement_id))


@router.post("/statements/{statement_id}/credit")
def credit(
    request: Request,
    context: Context,
    identity: Changer,
    statement_id: StatementId,
    reason: Text,
    line: Text = "",
    amount: Text = "",
) -> Response:
    """Take back a line, an amount of it, or all that is left; above the contract's limit, ask an approver."""
    form = ClaimForm("credit", line, amount, reason)
    with context.database.transaction(identity.tenant) as conn:
        statement = issued_for(conn, identity, statement_id)
        shares = _shares(statement, form)
        return attempt(
            conn,
            lambda: credit_requests.issue_or_request(
                conn,
                identity.tenant,
                statement_id,
                shares or None,
                reason=reason,
                by=identity.user_name,
                now=datetime.now(UTC),
            ),
            _account(statement_id),
            lambda problem: _page(request, conn, identity, statement, form, problem),
        )


@router.post("/statements/{statement_id}/dispute")
def dispute(
    request: Request,
    context: Context,
    identity: Disputer,
    statement_id: StatementId,
    reason: Text,
    line: Text,
    amount: Text = "",
) -> Response:
    """Dispute a line or an amount of it; the rest stays payable."""
    form = ClaimForm("dispute", line, amount, reason)
    with context.database.transaction(identity.tenant) as conn:
        statement = issued_for(conn, identity, statement_id)
        shares = _shares(statement, form)
        return attempt(
            conn,
            lambda: disputes.open_dispute(
                conn,
                identity.tenant,
                statement_id,
                shares,
                reason=reason,
                by=identity.user_name,
                now=datetime.now(UTC),
            ),
            _account(statement_id),
            lambda problem: _page(request, conn, identity, statement, form, problem),
        )


@router.post("/disputes/{dispute_id}/decide")
def decide(
    request: Request,
    context: Context,
    identity: Changer,
    dispute_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    verdict: Annotated[str, Form(pattern="^(accept|reject)$")],
    reason: Text,
) -> Response:
    """Give back what is disputed by a credit note, or let the lines stand; never by who opened the dispute."""
    now, tenant = datetime.now(UTC), identity.tenant
    with context.database.transaction(tenant) as conn:
        found = next(
            (one for one in disputes.list_disputes(conn, tenant) if one.dispute_id == dispute_id), None
        )
        if found is None:
            raise PageNotFound
        act = disputes.accept if verdict == "accept" else disputes.reject
        statement, form = issued_for(conn, identity, found.statement_id), ClaimForm("decide", reason=reason)
        return attempt(
            conn,
            lambda: act(conn, tenant, dispute_id, reason=reason, by=identity.user_name, now=now),
            _account(found.statement_id),
            lambda problem: _page(request, conn, identity, statement, form, problem),
        )


@router.post("/credit-requests/{request_id}/decide")
def decide_credit(
    request: Request,
    context: Context,
    identity: Approver,
    request_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    verdict: Annotated[str, Form(pattern="^(approve|refuse)$")],
) -> Response:
    """Issue the credit note that somebody else asked for, or not."""
    now, tenant = datetime.now(UTC), identity.tenant
    with context.database.transaction(tenant) as conn:
        asked = credit_requests.get_request(conn, tenant, request_id)
        act = credit_requests.approve if verdict == "approve" else credit_requests.refuse
        statement = issued_for(conn, identity, asked.statement_id)
        return attempt(
            conn,
            lambda: act(conn, tenant, request_id, by=identity.user_name, now=now),
            _account(asked.statement_id),
            lambda problem: _page(request, conn, identity, statement, None, problem),
        )


def _page(
    request: Request,
    conn: Connection,
    identity: Identity,
    statement: Statement,
    form: ClaimForm | None = None,
    problem: str | None = None,
) -> Response:
    tenant, statement_id = identity.tenant, statement.statement_id
    assert statement_id is not None
    return page(
        request,
        "claims.html",
        status_code=409 if problem else 200,
        statement=statement,
        account=payment_record.statement_account(conn, tenant, statement_id),
        disputed=disputes.disputed_amount(conn, tenant, statement_id),
        last_day_to_dispute=disputes.last_day_to_dispute(conn, statement),
        notes=credit_notes.of_statement(conn, tenant, statement_id),
        waiting=[
            one
            for one in credit_requests.list_requests(conn, tenant, statement_id)
            if one.state == "requested" and identity.only_party is None
        ],
        disputes=disputes.list_disputes(conn, tenant, statement_id),
        amount_of=lambda share: share if isinstance(share, Fraction) else Money(share, statement.currency),
        form=form or ClaimForm(),
        problem=problem,
        may_change=identity.may(CHANGES_MONEY),
        may_approve=identity.may(APPROVES_MONEY),
        may_dispute=identity.may(DISPUTES),
    )


def _shares(statement: Statement, form: ClaimForm) -> list[tuple[int, int | None]]:
    """(line, minor units or None for the rest of it); empty where no line is named. Raises `InvalidInput`."""
    if not form.line:
        return []
    if not (form.line.isascii() and form.line.isdigit() and len(form.line) <= 6):
        raise InvalidInput
    return [(int(form.line), _minor(form.amount, statement.currency))]


def _minor(text: str, currency: str) -> int | None:
    if not text.strip():
        return None
    if not _AMOUNT.fullmatch(text.strip()):
        raise InvalidInput
    minor = Decimal(text.strip().replace(",", "")).scaleb(exponent(currency))
    if minor != minor.to_integral_value():
        raise InvalidInput
    return int(minor)


def _account(statement_id: int) -> str:
    return f"/statements/{statement_id}/account"

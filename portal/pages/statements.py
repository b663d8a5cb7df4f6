"""Statements: drafts of what is not billed yet, issuing, and what was issued."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from billing.contracts import store as billing_store
from billing.contracts.store import StoredContract
from billing.errors import AccountParked, ContractNotFound, StatementNotFound
from billing.period import Period, local_midnight
from billing.statements import statement as statements
from billing.statements import statement_document
from billing.statements.statement_context import context_of
from billing.statements.statement_record import Statement
from pipeline.database import Connection
from portal.context import ISSUES_STATEMENTS, SEES_STATEMENTS, Identity
from portal.errors import ActionConflict
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_STATEMENTS))]
StatementId = Annotated[int, Path(ge=1, le=2**63 - 1)]

# Each PDF is made by a process of a few hundred MiB.
printing = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class OpenContract:
    """A contract with the draft of its running period and the ended periods that have no statement.

    running is None, and ended empty, before the contract is in force.
    """

    stored: StoredContract
    running: Statement | None
    ended: list[Period]


@router.get("/statements")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        contracts = [_open(conn, identity, one) for one in own_contracts(conn, identity)]
        issued = billing_store.list_statements(conn, identity.tenant, payer_id=identity.only_party)
    return page(request, "statements.html", contracts=contracts, issued=issued)


@router.get("/statements/draft")
def draft(
    request: Request, context: Context, identity: Viewer, contract_id: int, starts_on: date
) -> Response:
    """What would be issued now; leads to the issued statement if there is one."""
    with context.database.transaction(identity.tenant) as conn:
        at = _instant(conn, identity, contract_id, starts_on)
        found = own_draft(conn, identity, contract_id, at)
        if found is None:
            raise StatementNotFound(f"contract {contract_id} asks nothing of this party")
        if found.statement_id is not None:
            return RedirectResponse(f"/statements/{found.statement_id}", 303)
        return _document(request, conn, identity, found)


@router.post("/statements/issue")
def issue(
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(ISSUES_STATEMENTS))],
    contract_id: Annotated[int, Form()],
    starts_on: Annotated[date, Form()],
    close_early: Annotated[bool, Form()] = False,
    nil: Annotated[bool, Form()] = False,
) -> Response:
    """Issue once; the same request again leads to the same statement."""
    with context.database.transaction(identity.tenant) as conn:
        at = _instant(conn, identity, contract_id, starts_on)
        now = datetime.now(UTC)
        issued = statements.issue_or_park(
            conn, identity.tenant, contract_id, at, now=now, close_early=close_early, nil=nil
        )
    if isinstance(issued, AccountParked):  # raised once the parking is committed
        raise ActionConflict(str(issued))
    return RedirectResponse(f"/statements/{issued[0].statement_id}", 303)


@router.get("/statements/{statement_id}.pdf")
def show_pdf(context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = issued_for(conn, identity, statement_id)
        beside = context_of(conn, found)
    with printing:
        pdf = statement_document.render_pdf(found, identity.language, beside)
    return file_of(pdf, "application/pdf", f"{found.number}.pdf")


@router.get("/statements/{statement_id}.csv")
def show_csv(context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    """The lines."""
    with context.database.transaction(identity.tenant) as conn:
        found = issued_for(conn, identity, statement_id)
    text = statement_document.render_csv(found, identity.language)
    return file_of(text, "text/csv; charset=utf-8", f"{found.number}.csv")


@router.get("/statements/{statement_id}/cases.csv")
def show_cases(context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    """Every case behind the lines."""
    with context.database.transaction(identity.tenant) as conn:
        found = issued_for(conn, identity, statement_id)
        cases = billing_store.usage_of_statement(conn, identity.tenant, found)
    text = statement_document.render_case_csv(found, cases, identity.language)
    return file_of(text, "text/csv; charset=utf-8", f"{found.number}-cases.csv")


# After the others: its path would match theirs.
@router.get("/statements/{statement_id}")
def show_one(request: Request, context: Context, identity: Viewer, statement_id: StatementId) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = issued_for(conn, identity, statement_id)
        return _document(request, conn, identity, found)


def _document(request: Request, conn: Connection, identity: Identity, found: Statement) -> Response:
    # The fragment escapes its own values; it is the template that the PDF is printed from.
    body = Markup(statement_document.render_html(found, identity.language, context_of(conn, found)))  # noqa: S704
    is_running = datetime.now(UTC) < found.period.end_at
    return page(request, "statement.html", statement=found, body=body, is_running=is_running)


def file_of(content: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media_type, headers=headers)


def issued_for(conn: Connection, identity: Identity, statement_id: int) -> Statement:
    """Raises `StatementNotFound`, also for what another party owes, where a person sees the own party alone."""
    found = billing_store.get_statement(conn, identity.tenant, statement_id)
    if identity.only_party not in (None, found.payer.id):
        raise StatementNotFound(f"no statement {statement_id}")
    return found


def own_contracts(conn: Connection, identity: Identity) -> list[StoredContract]:
    """What the person may see: all, or those that the own party buys by."""
    found = billing_store.list_contracts(conn, identity.tenant)
    return [one for one in found if identity.only_party in (None, one.contract.buyer.id)]


def own_draft(conn: Connection, identity: Identity, contract_id: int, at: datetime) -> Statement | None:
    """Of several payers' drafts the first that the person may see."""
    drafts = statements.drafts(conn, identity.tenant, contract_id, at)
    return next((one for one in drafts if identity.only_party in (None, one.payer.id)), None)


def _open(conn: Connection, identity: Identity, stored: StoredContract) -> OpenContract:
    now = datetime.now(UTC)
    if stored.period_of(now) is None:
        return OpenContract(stored, None, [])
    running = own_draft(conn, identity, stored.contract_id, now)
    ended = statements.unissued_periods(conn, identity.tenant, stored.contract_id, now)
    return OpenContract(stored, running, ended[::-1])


def _instant(conn: Connection, identity: Identity, contract_id: int, starts_on: date) -> datetime:
    """The first instant of a local day of the contract. Raises `ContractNotFound`."""
    for stored in own_contracts(conn, identity):
        if stored.contract_id == contract_id:
            return local_midnight(starts_on, stored.contract.time_zone)
    raise ContractNotFound(f"no contract {contract_id}")

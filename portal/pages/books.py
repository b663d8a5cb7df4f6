"""The books: balances, ageing, and closing a month by its checklist; what a hospital counted itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, File, Form, Path, Request, Response, UploadFile

from billing.books import accounting, ageing, month_end, reconcile, reports
from billing.books.accounting import State
from billing.books.close_items import APPROVER
from billing.period import Period
from pipeline.database import Connection
from portal.attempt import attempt
from portal.context import APPROVES_MONEY, CHANGES_MONEY, CLOSES_BOOKS, SEES_MONEY, Identity
from portal.errors import RoleNotAllowed
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_MONEY))]
Changer = Annotated[Identity, Depends(signed_in(CHANGES_MONEY))]
Closer = Annotated[Identity, Depends(signed_in(CLOSES_BOOKS))]
MonthName = Annotated[str, Path(pattern="^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Text = Annotated[str, Form(max_length=500)]

_MONTHS_SHOWN = 13


@router.get("/books")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    """The months, the trial balance and what payers owe, as they are now."""
    tenant, now = identity.tenant, datetime.now(UTC)
    with context.database.transaction(tenant) as conn:
        zone = accounting.zone_of(conn, tenant)
        owed = ageing.open_statements(conn, tenant, now.astimezone(ZoneInfo(zone)).date(), zone)
        return page(
            request,
            "books.html",
            months=[
                (month, accounting.state_of(conn, tenant, month)) for month in _months(conn, tenant, now)
            ],
            totals=reports.trial_balance(conn, tenant, now),
            buckets=ageing.BUCKETS,
            ageing=ageing.age(owed),
            reconciliations=reconcile.latest(conn, tenant, limit=20),
            zone=zone,
            may_change=identity.may(CHANGES_MONEY),
            problem=None,
        )


@router.get("/books/{month}")
def show_month(request: Request, context: Context, identity: Viewer, month: MonthName) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        return _month_page(request, conn, identity, month)


@router.post("/books/{month}/begin")
def begin(request: Request, context: Context, identity: Changer, month: MonthName) -> Response:
    """Begin to close a month that is over."""

    def act(conn: Connection, period: Period) -> None:
        month_end.begin(conn, identity.tenant, period, by=identity.user_name, now=datetime.now(UTC))

    return _act(request, context, identity, month, act)


@router.post("/books/{month}/waive")
def waive(
    request: Request, context: Context, identity: Closer, month: MonthName, item: Text, reason: Text
) -> Response:
    """Accept an open item as it stands; some only an approver may."""

    def act(conn: Connection, period: Period) -> None:
        tenant = identity.tenant
        found = {one.name: one for one in month_end.checklist(conn, tenant, period).items}.get(item)
        allowed = APPROVES_MONEY if found and found.may_waive == APPROVER else CHANGES_MONEY
        if not identity.may(allowed):
            raise RoleNotAllowed
        month_end.waive(
            conn, tenant, period, item, by=identity.user_name, reason=reason, now=datetime.now(UTC)
        )

    return _act(request, context, identity, month, act)


@router.post("/books/{month}/sign")
def sign(request: Request, context: Context, identity: Closer, month: MonthName) -> Response:
    """Sign the checklist as it stands."""

    def act(conn: Connection, period: Period) -> None:
        month_end.sign(conn, identity.tenant, period, by=identity.user_name, now=datetime.now(UTC))

    return _act(request, context, identity, month, act)


@router.post("/books/{month}/close")
def close(request: Request, context: Context, identity: Closer, month: MonthName) -> Response:
    """Close a month that two people have signed."""

    def act(conn: Connection, period: Period) -> None:
        month_end.close(conn, identity.tenant, period, now=datetime.now(UTC))

    return _act(request, context, identity, month, act)


@router.post("/books/{month}/reopen")
def reopen(
    request: Request,
    context: Context,
    identity: Closer,
    month: MonthName,
    step: Annotated[str, Form(pattern="^(ask|approve|refuse)$")],
    reason: Text = "",
) -> Response:
    """Ask to reopen a closed month with a reason; another person agrees or does not."""

    def act(conn: Connection, period: Period) -> None:
        tenant, by, now = identity.tenant, identity.user_name, datetime.now(UTC)
        if step == "ask":
            accounting.request_reopening(conn, tenant, period, by=by, reason=reason, now=now)
        elif step == "approve":
            accounting.approve_reopening(conn, tenant, period, by=by, now=now)
        else:
            accounting.refuse_reopening(conn, tenant, period, by=by, now=now)

    return _act(request, context, identity, month, act)


@router.post("/reconciliations")
def compare(
    request: Request,
    context: Context,
    identity: Changer,
    file: Annotated[UploadFile, File()],
    style: Annotated[str, Form(pattern="^(csv|hl7|fhir)$")],
    since: Annotated[date, Form()],
    until: Annotated[date, Form()],
) -> Response:
    """Compare a hospital's own list, which holds opaque tokens, with the bill."""
    content = file.file.read()  # the guard bounds the whole request
    made: list[int] = []

    def act(conn: Connection) -> None:
        one = reconcile.reconcile(
            conn,
            identity.tenant,
            content,
            style=style,
            since=since,
            until=until,
            by=identity.user_name,
            now=datetime.now(UTC),
        )
        made.append(one.reconciliation_id)

    with context.database.transaction(identity.tenant) as conn:
        return attempt(
            conn,
            lambda: act(conn),
            lambda: f"/reconciliations/{made[0]}",
            lambda problem: page(request, "reconciliation.html", status_code=409, one=None, problem=problem),
        )


@router.get("/reconciliations/{reconciliation_id}")
def show_reconciliation(
    request: Request,
    context: Context,
    identity: Viewer,
    reconciliation_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        found = reconcile.get(conn, identity.tenant, reconciliation_id)
    return page(request, "reconciliation.html", one=found, problem=None)


def _act(
    request: Request,
    context: Context,
    identity: Identity,
    month: str,
    act: Callable[[Connection, Period], None],
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        return attempt(
            conn,
            lambda: act(conn, accounting.month_named(conn, identity.tenant, month)),
            f"/books/{month}",
            lambda problem: _month_page(request, conn, identity, month, problem),
        )


def _month_page(
    request: Request, conn: Connection, identity: Identity, name: str, problem: str | None = None
) -> Response:
    tenant, now = identity.tenant, datetime.now(UTC)
    month = accounting.month_named(conn, tenant, name)
    return page(
        request,
        "books_month.html",
        status_code=409 if problem else 200,
        name=name,
        checklist=month_end.checklist(conn, tenant, month),
        history=[one for one in accounting.history(conn, tenant) if one.month == month.starts_on],
        State=State,
        is_over=now >= month.end_at,
        problem=problem,
        may_change=identity.may(CHANGES_MONEY),
        may_close=identity.may(CLOSES_BOOKS),
        may_approve=identity.may(APPROVES_MONEY),
    )


def _months(conn: Connection, tenant: str, now: datetime) -> list[Period]:
    """This month and those before, latest first."""
    months = [accounting.month_of(conn, tenant, now)]
    while len(months) < _MONTHS_SHOWN:
        months.append(accounting.month_of(conn, tenant, months[-1].start_at - timedelta(microseconds=1)))
    return months

"""One report for whoever holds a link to it, and the page where such links are made."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from pipeline import store
from pipeline.report import report_values
from pipeline.store import StudyRecord
from portal import report_links
from portal.context import SHARES_REPORTS, Identity, PortalContext
from portal.errors import LinkNotGood, PageNotFound, PinWrong, TooManyAttempts
from portal.pages.reports import FINISHED
from portal.rate_limit import FailureLimit
from portal.render import page
from portal.report_files import ReportFiles, find_reports
from portal.report_links import DAYS_MAX, OPENING_GOOD_FOR, FoundLink, find_link
from portal.requests import Context, browser_address, parse_id, signed_in
from portal.verdict_desk import as_last_reviewed

router = APIRouter(include_in_schema=False)

Sharer = Annotated[Identity, Depends(signed_in(SHARES_REPORTS))]
OPENING_COOKIE = "radmeter_shared"


def strangers(request: Request) -> FailureLimit:
    found = request.app.state.shared_limit
    assert isinstance(found, FailureLimit)
    return found


@router.get("/studies/{study_id}/links")
def show_links(request: Request, context: Context, identity: Sharer, study_id: str) -> Response:
    return _links(request, context, identity, study_id)


@router.post("/studies/{study_id}/links")
def make(
    request: Request,
    context: Context,
    identity: Sharer,
    study_id: str,
    label: Annotated[str, Form(max_length=100)] = "",
    days: Annotated[int, Form(ge=1, le=DAYS_MAX)] = 7,
    views: Annotated[int, Form(ge=1, le=1000)] = 10,
    pin: Annotated[bool, Form()] = False,
) -> Response:
    """The link, and its PIN if it has one, are shown on the page that answers and never again."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        if study.status is not FINISHED:
            raise PageNotFound
        token, secret = report_links.make_link(
            conn, identity.tenant, study.id, label="".join(filter(str.isprintable, label)).strip(), days=days,
            views_max=views, with_pin=pin, by=identity.user_name,
        )  # fmt: skip
    base = context.portal_url or str(request.base_url).rstrip("/")
    return _links(request, context, identity, study_id, shown_once=(f"{base}/shared/{token}", secret))


@router.post("/studies/{study_id}/links/revoke")
def revoke(
    context: Context, identity: Sharer, study_id: str, link: Annotated[str, Form(max_length=40)]
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        study, link_id = parse_id(study_id), parse_id(link)
        if not report_links.revoke_link(conn, identity.tenant, study, link_id, by=identity.user_name):
            raise PageNotFound
    return RedirectResponse(f"/studies/{study}/links", 303)


def _links(
    request: Request,
    context: PortalContext,
    identity: Identity,
    study_id: str,
    *,
    shown_once: tuple[str, str] | None = None,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        rows = report_links.list_links(conn, identity.tenant, study.id)
    return page(
        request, "links.html", study=study, rows=rows, shown_once=shown_once, days_max=DAYS_MAX,
        is_finished=study.status is FINISHED,
    )  # fmt: skip


@router.get("/shared/{token}")
def ask(request: Request, context: Context, token: str) -> Response:
    """A button, and the PIN if there is one. Nothing of the patient is told yet."""
    link = _find(request, context, token)
    with context.database.transaction(link.tenant) as conn:
        has_pin = report_links.asks_for_pin(conn, link)
    return _unlisted(page(request, "shared_ask.html", token=token, has_pin=has_pin, problem=""))


@router.post("/shared/{token}")
def open_report(
    request: Request, context: Context, token: str, pin: Annotated[str, Form(max_length=20)] = ""
) -> Response:
    link = _find(request, context, token)
    address = browser_address(request)
    wrong = False
    with context.database.transaction(link.tenant) as conn:
        try:
            opening = report_links.open_link(conn, link, pin, host=address)
        except PinWrong:  # caught in here: what was counted is kept
            wrong = True
    if wrong:
        strangers(request).failed(address)
        problem = "The PIN is wrong."
        return _unlisted(
            page(request, "shared_ask.html", status_code=403, token=token, has_pin=True, problem=problem)
        )
    redirect = RedirectResponse(f"/shared/{token}/report", 303)
    redirect.set_cookie(
        OPENING_COOKIE, opening, max_age=round(OPENING_GOOD_FOR.total_seconds()), path=f"/shared/{token}",
        httponly=True, samesite="strict", secure=context.cookie_secure,
    )  # fmt: skip
    return _unlisted(redirect)


@router.get("/shared/{token}/report")
def show_report(request: Request, context: Context, token: str, product: str = "") -> Response:
    """The report alone: no menu, nothing else of the hospital."""
    _, study, reports, language = _opened(request, context, token)
    files = next((one for one in reports if one.product == product), None)
    if files is None:
        raise LinkNotGood
    query = files.query
    values = report_values(files.view, language, lambda name: f"/shared/{token}/images/{name}?{query}")
    return _unlisted(
        page(
            request,
            "report_alone.html",
            study=study,
            files=files,
            reports=reports,
            base=f"/shared/{token}/report",
            pdf_address=f"/shared/{token}/report.pdf?{query}",
            **values,
        )
    )


@router.get("/shared/{token}/images/{name}")
def show_image(request: Request, context: Context, token: str, name: str, product: str = "") -> Response:
    _, _, reports, _ = _opened(request, context, token)
    path = next((one.image(name) for one in reports if one.product == product), None)
    if path is None:
        raise LinkNotGood
    return _unlisted(FileResponse(path, media_type="image/png"))


@router.get("/shared/{token}/report.pdf")
def show_pdf(request: Request, context: Context, token: str, product: str = "") -> Response:
    link, study, reports, _ = _opened(request, context, token)
    path = next((one.pdf for one in reports if one.product == product), None)
    if path is None:
        raise LinkNotGood
    with context.database.transaction(link.tenant) as conn:
        report_links.record_export(conn, link, study.id, host=browser_address(request))
    return _unlisted(FileResponse(path, media_type="application/pdf", filename="report.pdf"))


def _opened(
    request: Request, context: PortalContext, token: str
) -> tuple[FoundLink, StudyRecord, list[ReportFiles], str]:
    """What this browser has opened: only while the report is the finished one, and only the latest."""
    link = _find(request, context, token)
    with context.database.transaction(link.tenant) as conn:
        study_id: UUID = report_links.opened_study(conn, link, request.cookies.get(OPENING_COOKIE, ""))
        study = store.get_study(conn, link.tenant, study_id)
        language = store.get_tenant(conn, link.tenant)["language"]
        root = context.results_root
        reports = [
            as_last_reviewed(conn, link.tenant, study.id, root, one)
            for one in find_reports(context.folders, study)
        ]
    if study.status is not FINISHED:
        raise LinkNotGood
    return link, study, reports, language


def _find(request: Request, context: PortalContext, token: str) -> FoundLink:
    """Raises `LinkNotGood`, and `TooManyAttempts` at an address that guesses."""
    address = browser_address(request)
    if wait_s := strangers(request).wait_s(address):
        raise TooManyAttempts(wait_s)
    try:
        return find_link(context.database, token)
    except LinkNotGood:
        strangers(request).failed(address)
        raise


def _unlisted(response: Response) -> Response:
    response.headers["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    return response

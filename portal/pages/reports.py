"""Finished reports and nothing else: what a referrer sees."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from pipeline import store, work_list
from pipeline.status import StudyStatus
from pipeline.work_list import Filter
from portal.context import SEES_REPORTS, SEES_STUDIES, Identity
from portal.errors import PageNotFound
from portal.render import page
from portal.report_files import find_reports
from portal.report_page import report_on_page
from portal.requests import Context, parse_id, signed_in
from portal.verdict_desk import desk_of, reviewed_view

router = APIRouter(include_in_schema=False)

Reader = Annotated[Identity, Depends(signed_in(SEES_REPORTS))]
FINISHED = StudyStatus.DELIVERED
LISTED_MAX = 50


@router.get("/reports")
def show_list(request: Request, context: Context, identity: Reader) -> Response:
    return _list(request, context, identity, "")


@router.post("/reports")
def search(
    request: Request,
    context: Context,
    identity: Reader,
    text: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """A search names a patient, so it comes as a form and leaves no trace in an address."""
    return _list(request, context, identity, text.strip())


def _list(request: Request, context: Context, identity: Identity, text: str) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = work_list.newest_studies(
            conn, identity.tenant, Filter(status=FINISHED, search=text), limit=LISTED_MAX + 1
        )
    return page(request, "reports.html", rows=rows[:LISTED_MAX], has_more=len(rows) > LISTED_MAX, search=text)


@router.get("/reports/{study_id}")
def show(
    request: Request,
    context: Context,
    identity: Reader,
    study_id: str,
    product: str = "",
    language: Annotated[Literal["en", "zh"] | None, Query()] = None,
) -> Response:
    """The report alone: of `product` where several models read the study."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        reports = find_reports(context.folders, study) if study.status is FINISHED else []
        files = next((one for one in reports if one.product == product), None)
        desk = desk_of(conn, identity, study.id, files)
    if files is None:
        raise PageNotFound
    values = report_on_page(
        context,
        study,
        files,
        reviewed_view(files.view, desk),
        language=language or identity.language,
        own_language=identity.language,
        page_path=f"/reports/{study.id}",
        newest_revision=files.revision,
        sees_images=identity.may(SEES_STUDIES),
    )
    return page(
        request,
        "report_alone.html",
        study=study,
        files=files,
        reports=reports,
        base=f"/reports/{study.id}",
        pdf_address=values["pdf_href"],
        **values,
    )
